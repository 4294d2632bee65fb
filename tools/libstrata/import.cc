// SPDX-License-Identifier: Apache-2.0
#include "cache/import.h"

#include <functional>

#include "sandbox/composition.h"
#include "tools/libstrata/events.h"
#include "tools/libstrata/handles.h"

namespace strata {

Result<void> CheckRef(const char* ref) {
  if (ref == nullptr) return {};
  return Store::CheckRefName(ref);
}

namespace {

Result<ImportOptions> Translate(const strata_import_options& given) {
  STRATA_TRY(CheckEnum(given.format, STRATA_FORMAT_OCI, "format"));
  STRATA_TRY(CheckEnum(given.owner, STRATA_OWNER_ROOT, "owner"));
  STRATA_TRY(CheckRef(given.ref));
  static_assert(static_cast<int>(SourceFormat::kOci) == STRATA_FORMAT_OCI);
  static_assert(static_cast<int>(OwnerPolicy::kRoot) == STRATA_OWNER_ROOT);
  ImportOptions options;
  options.format = static_cast<SourceFormat>(given.format);
  options.owner = static_cast<OwnerPolicy>(given.owner);
  options.mtime = Mtime(given.set_mtime, given.mtime);
  options.integration_commands = TextList(given.integrate);
  for (const std::string& command : options.integration_commands) {
    if (command.empty()) return Fail(Errc::kInvalid, "integrate: a command is empty");
  }
  options.jobs = given.jobs;
  return options;
}

using Source = std::function<Result<ImportResult>(const Store&, const ImportOptions&)>;

Result<void> ImportFrom(const Source& source, const strata_store* store,
                        const strata_import_options* given_options, strata_layer** layer) {
  STRATA_ASSIGN(StorePtr opened, StoreOf(store));
  STRATA_ASSIGN(strata_import_options given, ReadOptions(given_options, "strata_import_options"));
  STRATA_ASSIGN(ImportOptions options, Translate(given));
  Events events;
  STRATA_TRY(events.Read(given.events));
  static_cast<void>(opened->CleanLeftovers());
  ShownProgress shown(events.observer());
  options.progress = &shown.counters;
  shown.Begin("import");
  STRATA_ASSIGN(ImportResult result, source(*opened, options));
  shown.End();
  if (result.replaced) RepairAfterReplacing(*opened, result.id, events.observer());
  if (given.ref != nullptr) STRATA_TRY(opened->SetRef(given.ref, result.id));
  for (const std::string& warning : result.warnings) events.observer().Warn(warning);
  CollectAfterPublishing(*opened, events.observer());
  *layer = new strata_layer{std::move(opened), std::move(result.lease), result.id.Hex(),
                            result.existed,    result.entries,          result.content_bytes};
  return {};
}

}  // namespace
}  // namespace strata

using strata::Call;
using strata::Need;
using strata::Result;

int strata_import(const strata_store* store, const char* path, const strata_import_options* options,
                  strata_layer** layer, strata_error** error) {
  if (layer != nullptr) *layer = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(layer, "layer"));
    STRATA_ASSIGN(std::string where, strata::Text(path, "path"));
    if (where == "-") where = "./-";  // a file of that name: only people mean standard input
    auto import = [&](const strata::Store& opened, const strata::ImportOptions& wanted) {
      return strata::Import(opened, where, wanted);
    };
    return strata::ImportFrom(import, store, options, layer);
  });
}

int strata_import_fd(const strata_store* store, int fd, const strata_import_options* options,
                     strata_layer** layer, strata_error** error) {
  if (layer != nullptr) *layer = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(layer, "layer"));
    auto import = [&](const strata::Store& opened, const strata::ImportOptions& wanted) {
      return strata::ImportDescriptor(opened, fd, fmt::format("descriptor {}", fd), wanted);
    };
    return strata::ImportFrom(import, store, options, layer);
  });
}

int strata_layer_open(const strata_store* store, const char* name, strata_layer** layer,
                      strata_error** error) {
  if (layer != nullptr) *layer = nullptr;
  return Call(error, [&]() -> Result<void> {
    STRATA_TRY(Need(layer, "layer"));
    STRATA_ASSIGN(strata::StorePtr opened, strata::StoreOf(store));
    STRATA_ASSIGN(std::string text, strata::Text(name, "name"));
    STRATA_ASSIGN(strata::LayerId id, opened->Resolve(text));
    STRATA_ASSIGN(strata::LayerLease lease, opened->LeaseLayer(id));
    STRATA_ASSIGN(strata::Manifest manifest, opened->OpenManifest(id));
    *layer = new strata_layer{std::move(opened),    std::move(lease),       id.Hex(), true,
                              manifest.size() - 1U, manifest.content_size()};
    return {};
  });
}

const char* strata_layer_id(const strata_layer* layer) {
  return layer != nullptr ? layer->id.c_str() : "";
}

int strata_layer_existed(const strata_layer* layer) {
  return layer != nullptr && layer->existed ? 1 : 0;
}

uint64_t strata_layer_entries(const strata_layer* layer) {
  return layer != nullptr ? layer->entries : 0;
}

uint64_t strata_layer_bytes(const strata_layer* layer) {
  return layer != nullptr ? layer->bytes : 0;
}

void strata_layer_free(strata_layer* layer) {
  delete layer;
}
