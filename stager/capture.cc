// SPDX-License-Identifier: Apache-2.0
#include "stager/capture.h"

#include "base/path.h"
#include "stager/capture_session.h"

namespace strata {
namespace {

constexpr size_t kMaxWarnings = 20;

Result<CaptureResult> Capture(const Store& store, PendingLayer pending, CaptureSource source,
                              const LowerChain& lower, const CaptureOptions& options) {
  CaptureSession session(source, lower, options);
  STRATA_TRY_WITH(session.Scan(pending.dir_fd(), "tree"), "capture");
  session.Decide();
  STRATA_TRY_WITH(session.Apply(), "capture");
  STRATA_ASSIGN_WITH(std::vector<uint8_t> manifest, session.builder().Finish(), "capture");
  CaptureResult result = session.TakeResult();
  if (!options.derived.empty()) {
    if (result.entries == 0) return result;
    STRATA_TRY_WITH(store.PublishDerived(std::move(pending), manifest, options.derived), "capture");
    return result;
  }
  STRATA_ASSIGN_WITH(PublishedLayer published, store.Publish(std::move(pending), manifest),
                     "capture");
  result.id = published.id;
  result.existed = published.existed;
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
