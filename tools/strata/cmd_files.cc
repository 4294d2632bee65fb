// SPDX-License-Identifier: Apache-2.0
//
// strata files, diff: what is in a layer, and what differs between two. Both read manifests alone.
#include "base/path.h"
#include "cache/diff.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/layer_info.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

enum FilesOption { kLong, kNul };
constexpr OptionSpec kFilesOptions[] = {
    Flag(kLong, "long", 'l', "with type, mode, owner, size, modification time and target"),
    Flag(kNul, "null", '0', "end each line with a NUL byte, and print names as they are"),
    kJsonOption,
};

// Each entry is looked at, so a damaged manifest is found before it is believed.
Result<Manifest> OpenWhole(const Store& store, const LayerId& id) {
  STRATA_ASSIGN(Manifest manifest, store.OpenManifest(id));
  auto valid = manifest.Validate();
  if (valid) return manifest;
  return Unexpected(
      std::move(valid)
          .error()
          .Wrap(fmt::format("layer {:.12}", id.Hex()))
          .Hint(
              fmt::format("its record is damaged: strata rm {:.12}, and make it again", id.Hex())));
}

// "-rwsr-xr-x", as ls writes it; `w` marks a whiteout.
std::string ModeText(const ManifestEntry& entry) {
  constexpr std::string_view kTypes = "?d-lpw";
  std::string text(1, kTypes[static_cast<size_t>(entry.type) % kTypes.size()]);
  for (int shift = 6; shift >= 0; shift -= 3) {
    uint32_t bits = entry.mode >> shift;
    text += (bits & 4) != 0 ? 'r' : '-';
    text += (bits & 2) != 0 ? 'w' : '-';
    text += (bits & 1) != 0 ? 'x' : '-';
  }
  auto special = [&](uint32_t bit, size_t at, char with_x, char without) {
    if ((entry.mode & bit) != 0) text[at] = text[at] == 'x' ? with_x : without;
  };
  special(04000, 3, 's', 'S');
  special(02000, 6, 's', 'S');
  special(01000, 9, 't', 'T');
  return text;
}

void PrintLong(Output& out, const Manifest& manifest, const ManifestEntry& entry,
               const std::string& path, bool raw) {
  auto text = [&](std::string_view bytes) { return raw ? std::string(bytes) : QuotePath(bytes); };
  out.Print("{} {:>11} {:>10} {} {}", ModeText(entry), fmt::format("{}:{}", entry.uid, entry.gid),
            entry.size, FormatTime(entry.mtime_sec), text(path));
  if (entry.type == EntryType::kSymlink) out.Print(" -> {}", text(manifest.target(entry)));
  if (entry.opaque()) out.Write(" (opaque)");
}

Json EntryJson(const Manifest& manifest, uint32_t index, const std::string& path) {
  const ManifestEntry& entry = manifest.entry(index);
  Json json;
  SetText(json, "path", path);
  json["type"] = TypeName(entry.type);
  if (entry.type == EntryType::kWhiteout) return json;
  json["mode"] = fmt::format("{:04o}", entry.mode);
  json["uid"] = entry.uid;
  json["gid"] = entry.gid;
  json["mtime"] = entry.mtime_sec;
  json["mtime_nsec"] = entry.mtime_nsec;
  if (entry.type == EntryType::kFile) {
    json["size"] = entry.size;
    json["sha256"] = entry.digest.Hex();
  }
  if (entry.type == EntryType::kSymlink) SetText(json, "target", manifest.target(entry));
  if (entry.hardlink != kNoEntry && entry.hardlink != index) {
    SetText(json, "hardlink", manifest.Path(entry.hardlink));
  }
  if (entry.opaque()) json["opaque"] = true;
  if (entry.implicit()) json["implicit"] = true;
  for (const Xattr& xattr : manifest.xattrs(entry))
    SetText(json["xattrs"], xattr.name.c_str(), xattr.value);
  return json;
}

Result<int> Files(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(LayerId id, store->Resolve(args.operands[0]));
  STRATA_ASSIGN(Manifest manifest, OpenWhole(*store, id));
  Output& out = context.out;
  if (context.json) {
    JsonLines lines(out);
    manifest.Walk([&](const std::string& path, uint32_t index) {
      if (index != 0) lines.Add(EntryJson(manifest, index, path));
    });
    lines.End();
    return 0;
  }
  bool raw = args.Has(kNul);
  manifest.Walk([&](const std::string& path, uint32_t index) {
    if (index == 0) return;
    if (args.Has(kLong)) {
      PrintLong(out, manifest, manifest.entry(index), path, raw);
    } else {
      out.Write(raw ? path : QuotePath(path));
    }
    out.Write(raw ? std::string_view("\0", 1) : "\n");
  });
  return 0;
}

enum DiffOption { kWhy };
constexpr OptionSpec kDiffOptions[] = {
    Flag(kWhy, "long", 'l', "say what differs in a modified entry"),
    kJsonOption,
};

std::vector<std::string_view> FieldNames(uint32_t fields) {
  constexpr std::string_view kNames[] = {"type",   "mode",   "owner",    "mtime", "content",
                                         "target", "xattrs", "hardlink", "flags"};
  std::vector<std::string_view> names;
  for (size_t bit = 0; bit < std::size(kNames); ++bit) {
    if ((fields >> bit & 1) != 0) names.push_back(kNames[bit]);
  }
  return names;
}

char Letter(const Difference& difference) {
  switch (difference.kind) {
    case Difference::Kind::kAdded:
      return 'A';
    case Difference::Kind::kModified:
      return 'M';
    case Difference::Kind::kDeleted:
      return 'D';
  }
  return '?';
}

Result<int> RunDiff(Context& context, const ParsedArgs& args) {
  STRATA_ASSIGN(const Store* store, context.OpenStore());
  STRATA_ASSIGN(LayerId old_id, store->Resolve(args.operands[0]));
  STRATA_ASSIGN(LayerId new_id, store->Resolve(args.operands[1]));
  STRATA_ASSIGN(Manifest old_layer, OpenWhole(*store, old_id));
  STRATA_ASSIGN(Manifest new_layer, OpenWhole(*store, new_id));
  Output& out = context.out;
  if (context.json) {
    JsonLines lines(out);
    Diff(old_layer, new_layer, [&](const Difference& difference) {
      Json json;
      json["status"] = std::string(1, Letter(difference));
      SetText(json, "path", difference.path);
      if (difference.fields != 0) json["changed"] = FieldNames(difference.fields);
      lines.Add(json);
    });
    lines.End();
    return 0;
  }
  Diff(old_layer, new_layer, [&](const Difference& difference) {
    out.Print("{} {}", Letter(difference),
              difference.path.empty() ? "." : QuotePath(difference.path));
    if (args.Has(kWhy) && difference.fields != 0) {
      out.Print(" ({})", fmt::join(FieldNames(difference.fields), ", "));
    }
    out.Write("\n");
  });
  return 0;
}

}  // namespace

constinit const CommandSpec kFilesCommand = {
    .name = "files",
    .summary = "List the entries of a layer",
    .usage = "[-l] [-0] [--json] LAYER",
    .description =
        "One path a line, in the order of a sorted walk. Backslashes, control characters and bytes that\n"
        "are not UTF-8 are printed as \\xNN, except with -0 and --json.",
    .options = kFilesOptions,
    .min_operands = 1,
    .max_operands = 1,
    .run = Files,
};

constinit const CommandSpec kDiffCommand = {
    .name = "diff",
    .summary = "Show what differs between two layers",
    .usage = "[-l] [--json] OLD NEW",
    .description =
        "A line for each entry that differs: `A` for one that only NEW has, `D` for one that only OLD has,\n"
        "`M` for one whose content or metadata differ.\n\n"
        "The exit status is 0, whether any do or not.",
    .options = kDiffOptions,
    .min_operands = 2,
    .max_operands = 2,
    .run = RunDiff,
};

}  // namespace strata
