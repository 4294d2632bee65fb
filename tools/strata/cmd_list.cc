// SPDX-License-Identifier: Apache-2.0
//
// strata list: what is in the store.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <tuple>

#include "base/file_lock.h"
#include "base/path.h"
#include "base/sys.h"
#include "cache/kept.h"
#include "stager/stage_record.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/layer_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kListOptions[] = {kJsonOption};
// Not an option, but its choices are looked up and explained in the same way.
constexpr OptionSpec kWhat = Value(0, "what", 0, "layers|refs|roots|stages|workspaces|caches", "");

using Row = std::vector<std::string>;

// Columns as wide as they need to be; numbers (by `right`) to the right. The last is not padded.
void PrintTable(Output& out, const std::vector<Row>& rows, std::string_view right) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      bool last = i + 1 == row.size();
      size_t padding = widths[i] - row[i].size();
      bool to_the_right = right.find(static_cast<char>('0' + i)) != std::string_view::npos;
      if (to_the_right) out.Print("{:{}}", "", padding);
      out.Write(row[i]);
      if (!to_the_right && !last) out.Print("{:{}}", "", padding);
      out.Write(last ? "\n" : "  ");
    }
  }
}

Result<int> ListLayers(Context& context, const Store& store) {
  STRATA_ASSIGN(Names names, Names::Read(store));
  STRATA_ASSIGN(std::vector<LayerId> ids, store.ListLayers());
  std::vector<LayerInfo> layers;
  for (const LayerId& id : ids) {
    auto info = ReadLayerInfo(store, id, names);
    // One that was removed since is not there to be listed.
    if (!info && info.error().code() == Errc::kNotFound) continue;
    if (!info) return Unexpected(std::move(info).error());
    layers.push_back(std::move(*info));
  }
  // By name; those without one come last, newest first.
  std::sort(layers.begin(), layers.end(), [](const LayerInfo& a, const LayerInfo& b) {
    return std::tuple(a.refs.empty(), a.refs, -a.created, a.id) <
           std::tuple(b.refs.empty(), b.refs, -b.created, b.id);
  });
  if (context.json) {
    Json json = Json::array();
    for (const LayerInfo& layer : layers) json.push_back(ToJson(layer));
    PrintJson(context.out, json);
    return 0;
  }
  if (layers.empty()) return 0;
  std::vector<Row> rows = {{"ID", "ENTRIES", "SIZE", "CREATED", "REFS"}};
  for (const LayerInfo& layer : layers) {
    rows.push_back({ShortId(layer.id), fmt::format("{}", layer.entries),
                    FormatSize(layer.content_bytes), FormatTime(layer.created),
                    names.Text(layer.id)});
  }
  PrintTable(context.out, rows, "12");
  return 0;
}

Result<int> ListRefs(Context& context, const Store& store) {
  STRATA_ASSIGN(std::vector<Store::Ref> refs, store.ListRefs());
  if (context.json) {
    Json json = Json::array();
    for (const Store::Ref& ref : refs) {
      json.push_back(
          {{"name", ref.name}, {"kind", ref.target.KindName()}, {"id", ref.target.Hex()}});
    }
    PrintJson(context.out, json);
    return 0;
  }
  if (refs.empty()) return 0;
  std::vector<Row> rows = {{"REF", "KIND", "ID"}};
  for (const Store::Ref& ref : refs) {
    rows.push_back({ref.name, std::string(ref.target.KindName()), ref.target.Hex().substr(0, 12)});
  }
  PrintTable(context.out, rows, "");
  return 0;
}

Result<int> ListRoots(Context& context, const Store& store) {
  STRATA_ASSIGN(Names names, Names::Read(store));
  STRATA_ASSIGN(std::vector<RootInfo> roots, ReadRoots(store));
  // By name; those without one come last, the one used last first.
  std::sort(roots.begin(), roots.end(), [&](const RootInfo& a, const RootInfo& b) {
    auto of_a = names.Of(a.key);
    auto of_b = names.Of(b.key);
    return std::tuple(of_a.empty(), of_a, -a.last_used, a.key) <
           std::tuple(of_b.empty(), of_b, -b.last_used, b.key);
  });
  if (context.json) {
    Json json = Json::array();
    for (const RootInfo& root : roots) json.push_back(ToJson(root, names));
    PrintJson(context.out, json);
    return 0;
  }
  if (roots.empty()) return 0;
  std::vector<Row> rows = {{"KEY", "LAYERS", "DEPTH", "METHOD", "LAST USED", "REFS"}};
  for (const RootInfo& root : roots) {
    rows.push_back({ShortKey(root.key), fmt::format("{}", root.content.layer_count),
                    fmt::format("{}", root.content.lowers.size()),
                    std::string(RootMethodName(root.content.method)), FormatTime(root.last_used),
                    names.Text(root.key)});
  }
  PrintTable(context.out, rows, "12");
  return 0;
}

struct Stage {
  std::string name;
  int64_t started = 0;
  std::optional<StageRecord> left;  // in place, at its directory
};

// A stage's directory is locked by its sandbox for as long as that lives.
Result<std::vector<Stage>> LiveStages(const Store& store) {
  std::vector<Stage> stages;
  STRATA_ASSIGN(UniqueFd fd, store.OpenDir("stages"));
  UniqueFd listing(sys::OpenAt(fd.get(), ".", O_RDONLY | O_DIRECTORY));
  DIR* dir = ::fdopendir(listing.get());
  if (dir == nullptr) return FailSys(errno, "fdopendir", "stages");
  static_cast<void>(listing.release());
  while (const dirent* entry = ::readdir(dir)) {
    std::string name = entry->d_name;
    struct stat st;
    if (name == "." || name == ".." || sys::FstatAt(fd.get(), name.c_str(), &st) < 0) continue;
    // Its owner locks it just after making it: so soon, a try of ours could be in its way.
    bool live = ::time(nullptr) - st.st_mtime < 2;
    if (!live) {
      auto lock = FileLock::OnDirectory(fd.get(), name, LockMode::kShared, LockWait::kFail);
      live = !lock && lock.error().code() == Errc::kBusy;
    }
    if (live) stages.push_back({std::move(name), st.st_mtime, std::nullopt});
  }
  ::closedir(dir);
  STRATA_ASSIGN(std::vector<ListedStage> listed, ListStageRecords(store));
  for (ListedStage& stage : listed) {
    if (stage.state == StageState::kStale) continue;
    stages.push_back({stage.record.id, stage.record.started, std::move(stage.record)});
  }
  std::sort(stages.begin(), stages.end(), [](const Stage& a, const Stage& b) {
    return std::tuple(a.started, a.name) < std::tuple(b.started, b.name);
  });
  return stages;
}

Result<int> ListStages(Context& context, const Store& store) {
  STRATA_ASSIGN(std::vector<Stage> stages, LiveStages(store));
  if (context.json) {
    Json json = Json::array();
    for (const Stage& stage : stages) {
      Json entry = {{"name", stage.name}, {"started", stage.started}};
      if (stage.left) {
        entry["directory"] = stage.left->directory;
        entry["method"] = StageMethodName(stage.left->method);
        entry["root"] = stage.left->root.Hex();
      }
      json.push_back(std::move(entry));
    }
    PrintJson(context.out, json);
    return 0;
  }
  if (stages.empty()) return 0;
  std::vector<Row> rows = {{"STAGE", "STARTED", "METHOD", "DIRECTORY"}};
  for (const Stage& stage : stages) {
    std::string method = stage.left ? std::string(StageMethodName(stage.left->method)) : "-";
    std::string directory = stage.left ? QuotePath(stage.left->directory) : "-";
    rows.push_back({stage.name, FormatTime(stage.started), method, directory});
  }
  PrintTable(context.out, rows, "");
  return 0;
}

template <KeptKind kind>
Result<int> ListKeptDirectories(Context& context, const Store& store) {
  STRATA_ASSIGN(std::vector<KeptDirectory> kept, ListKept(store, kind));
  if (context.json) {
    Json json = Json::array();
    for (const KeptDirectory& directory : kept) {
      Json entry;
      SetText(entry, "name", directory.name);
      entry["changed"] = directory.changed;
      entry["bytes"] = directory.bytes;
      json.push_back(std::move(entry));
    }
    PrintJson(context.out, json);
    return 0;
  }
  if (kept.empty()) return 0;
  std::vector<Row> rows = {
      {kind == KeptKind::kWorkspace ? "WORKSPACE" : "CACHE", "SIZE", "CHANGED"}};
  for (const KeptDirectory& directory : kept) {
    rows.push_back(
        {QuotePath(directory.name), FormatSize(directory.bytes), FormatTime(directory.changed)});
  }
  PrintTable(context.out, rows, "1");
  return 0;
}

Result<int> List(Context& context, const ParsedArgs& args) {
  size_t what = 0;
  if (!args.operands.empty()) {
    auto choice = ParseChoice(kWhat, args.operands[0]);
    if (!choice) {
      return Unexpected(
          Error(Errc::kInvalid, fmt::format("list: there are no '{}'", args.operands[0]))
              .Hint(fmt::format("one of {}", kWhat.metavar)));
    }
    what = *choice;
  }
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  constexpr Result<int> (*kLists[])(Context&, const Store&) = {
      ListLayers,
      ListRefs,
      ListRoots,
      ListStages,
      ListKeptDirectories<KeptKind::kWorkspace>,
      ListKeptDirectories<KeptKind::kCache>};
  return kLists[what](context, *store);
}

}  // namespace

constinit const CommandSpec kListCommand = {
    .name = "list",
    .summary = "List layers, names, composed roots, running stages, workspaces or caches",
    .usage = "[--json] [layers|refs|roots|stages|workspaces|caches]",
    .description =
        "layers (the default): id, size and names of each; refs: what each name stands for; roots: "
        "the\n"
        "composed roots that are kept, which the next `strata run` with the same layers uses; "
        "stages:\n"
        "sandboxes that run, and roots that `strata stage` left at a directory; workspaces and "
        "caches: what\n"
        "runs with --workspace and --cache keep, until `strata rm` removes it.",
    .options = kListOptions,
    .max_operands = 1,
    .run = List,
};

}  // namespace strata
