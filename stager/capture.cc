// SPDX-License-Identifier: Apache-2.0
#include "stager/capture.h"

#include "base/ask_in_mapping.h"
#include "base/path.h"
#include "cache/byte_reader.h"
#include "stager/capture_session.h"

namespace strata {
namespace {

constexpr size_t kMaxWarnings = 20;

struct Captured {
  CaptureResult result;  // all but the id
  std::vector<uint8_t> manifest;
};

Result<Captured> Normalise(const PendingLayer& pending, CaptureSource source,
                           const LowerChain& lower, const CaptureOptions& options) {
  CaptureSession session(source, lower, options);
  STRATA_TRY(session.Scan(pending.dir_fd(), "tree"));
  session.Decide();
  STRATA_TRY(session.Apply());
  STRATA_ASSIGN(std::vector<uint8_t> manifest, session.builder().Finish());
  return Captured{session.TakeResult(), std::move(manifest)};
}

std::string Encode(const Captured& captured) {
  const CaptureResult& result = captured.result;
  std::string bytes;
  for (uint64_t number : {result.entries, result.content_bytes, result.dropped}) {
    PutU64(bytes, number);
  }
  PutU32(bytes, static_cast<uint32_t>(result.warnings.size()));
  for (const std::string& warning : result.warnings) PutText(bytes, warning);
  bytes.append(reinterpret_cast<const char*>(captured.manifest.data()), captured.manifest.size());
  return bytes;
}

Captured Decode(std::string_view bytes) {
  Captured captured;
  CaptureResult& result = captured.result;
  ByteReader in(bytes);
  for (uint64_t* number : {&result.entries, &result.content_bytes, &result.dropped}) {
    *number = in.U64();
  }
  const uint32_t warnings = in.U32();
  for (uint32_t i = 0; i < warnings; ++i) result.warnings.emplace_back(in.Text());
  std::string_view manifest = in.Rest();
  captured.manifest.assign(manifest.begin(), manifest.end());
  return captured;
}

// In the namespace of the sandbox where its files belong to several ids.
Result<Captured> NormaliseAsOwner(const PendingLayer& pending, CaptureSource source,
                                  const LowerChain& lower, const CaptureOptions& options) {
  if (options.mapping == nullptr || options.mapping->IsSingle()) {
    return Normalise(pending, source, lower, options);
  }
  auto work = [&]() -> Result<std::string> {
    STRATA_ASSIGN(Captured captured, Normalise(pending, source, lower, options));
    return Encode(captured);
  };
  STRATA_ASSIGN(std::string bytes, AskInMapping(*options.mapping, work));
  Captured captured = Decode(bytes);
  if (options.progress != nullptr) {  // what the child counted is lost
    options.progress->entries += captured.result.entries;
    options.progress->bytes += captured.result.content_bytes;
  }
  return captured;
}

Result<CaptureResult> Capture(const Store& store, PendingLayer pending, CaptureSource source,
                              const LowerChain& lower, const CaptureOptions& options) {
  STRATA_ASSIGN_WITH(Captured captured, NormaliseAsOwner(pending, source, lower, options),
                     "capture");
  CaptureResult result = std::move(captured.result);
  const std::vector<uint8_t> manifest = std::move(captured.manifest);
  if (!options.derived.empty()) {
    if (result.entries == 0) return result;
    STRATA_TRY_WITH(store.PublishDerived(std::move(pending), manifest, options.derived), "capture");
    return result;
  }
  STRATA_ASSIGN_WITH(PublishedLayer published, store.Publish(std::move(pending), manifest),
                     "capture");
  result.id = published.id;
  result.existed = published.existed;
  result.replaced = published.replaced;
  result.lease = std::move(published.lease);
  return result;
}

}  // namespace

Result<CaptureResult> CaptureUpper(const Store& store, PendingLayer pending,
                                   const LowerChain& lower, const CaptureOptions& options) {
  return Capture(store, std::move(pending), CaptureSource::kUpper, lower, options);
}

Result<CaptureResult> CaptureDirectory(const Store& store, PendingLayer pending,
                                       const CaptureOptions& options) {
  const LowerChain nothing({});
  return Capture(store, std::move(pending), CaptureSource::kDirectory, nothing, options);
}

CaptureResult CaptureSession::TakeResult() {
  CaptureResult result;
  result.entries = builder_.size() - 1;
  result.content_bytes = content_bytes_;
  result.dropped = dropped_;
  result.warnings = std::move(warnings_);
  if (more_warnings_ > 0) {
    result.warnings.push_back(fmt::format("and {} more of the kind", more_warnings_));
  }
  return result;
}

std::string CaptureSession::Describe(Node node, std::string_view child) const {
  std::string path = builder_.Path(node);
  if (!child.empty()) {
    if (!path.empty()) path += '/';
    path += child;
  }
  return path.empty() ? "/" : QuotePath(path);
}

void CaptureSession::Warn(std::string line) {
  std::lock_guard lock(mutex_);
  if (warnings_.size() < kMaxWarnings) {
    warnings_.push_back(std::move(line));
  } else {
    ++more_warnings_;
  }
}

}  // namespace strata
