// SPDX-License-Identifier: Apache-2.0
#include "cache/fsck.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/file_lock.h"
#include "base/io.h"
#include "base/path.h"
#include "base/remove_tree.h"
#include "base/sys.h"
#include "base/temp_dir.h"
#include "cache/durable.h"
#include "cache/list_directory.h"
#include "cache/materialisation.h"
#include "cache/providers.h"
#include "cache/replace_layer.h"
#include "cache/roots.h"

namespace strata {
namespace {

using Kind = FsckFinding::Kind;
using Outcome = FsckFinding::Outcome;

Result<std::vector<std::string>> ListNames(const Store& store, const std::string& place) {
  STRATA_ASSIGN(std::vector<std::string> names, ListDirectory(store.fd(), place));
  std::sort(names.begin(), names.end());
  return names;
}

bool Exists(const Store& store, const std::string& path) {
  struct stat st;
  return sys::FstatAt(store.fd(), path.c_str(), &st) == 0;
}

bool IsInUse(const Error& error) {
  return error.code() == Errc::kBusy;
}

class Checker {
 public:
  Checker(const Store& store, const FsckOptions& options) : store_(store), options_(options) {}

  Result<FsckReport> Run() {
    std::vector<LayerId> layers = options_.layers;
    const bool all = layers.empty() && options_.scope == FsckScope::kAll;
    if (all) {
      STRATA_ASSIGN(layers, store_.ListLayers());
    }
    CountBytes(layers);
    for (const LayerId& id : layers) STRATA_TRY(CheckLayer(id));
    if (!layers.empty() && !all) return std::move(report_);
    STRATA_ASSIGN(std::vector<std::string> derived, ListNames(store_, "derived"));
    for (const std::string& name : derived) STRATA_TRY(CheckDerived(name));
    if (!all) return std::move(report_);
    STRATA_ASSIGN(std::vector<std::string> roots, ListNames(store_, "roots"));
    for (const std::string& name : roots) STRATA_TRY(CheckRoot(name));
    STRATA_ASSIGN(std::vector<std::string> refs, ListNames(store_, "refs"));
    for (const std::string& file : refs) STRATA_TRY(CheckRef(file));
    STRATA_ASSIGN(std::vector<std::string> pins, ListNames(store_, "pins"));
    for (const std::string& file : pins) STRATA_TRY(CheckPin(file));
    STRATA_TRY(CountTheRest());
    // Read back as it should be: once it is written out, no restart needs to look at it again.
    if (report_.findings.empty()) static_cast<void>(MarkDurable(store_));
    return std::move(report_);
  }

 private:
  bool repair() const { return options_.repair == FsckRepair::kYes; }

  void CountBytes(const std::vector<LayerId>& layers) {
    if (options_.progress == nullptr) return;
    for (const LayerId& id : layers) {
      auto manifest = Manifest::Open(store_.fd(), LayerPathIn("layers", id) + "/manifest");
      if (manifest) options_.progress->total_bytes += manifest->content_size();
    }
  }

  Result<std::vector<TreeDamage>> Verify(const std::string& path,
                                         const std::optional<LayerId>& id) {
    VerifyOptions verify;
    verify.jobs = options_.jobs;
    verify.progress = options_.progress;
    verify.known = &known_;
    return VerifyOwnTree(store_.fd(), path, id, verify);
  }

  // What `verify` says of the layer at `path`, under a lease: else somebody could remove it while
  // its files are read, and make it again, and it would seem to lack them. None where it has no
  // tree.
  template <typename VerifyIt>
  Result<std::vector<TreeDamage>> VerifyLeased(const std::string& path, const VerifyIt& verify) {
    const std::string tree = path + "/tree";
    for (;;) {
      auto lease = FileLock::OnDirectory(store_.fd(), tree, LockMode::kShared, LockWait::kBlock);
      STRATA_ASSIGN(std::vector<TreeDamage> damages, verify());
      if (damages.empty() || !lease) return damages;
      struct stat verified;
      struct stat there;
      if (::fstat(lease->fd(), &verified) != 0) return FailSys(errno, "fstat", tree);
      const bool same = sys::FstatAt(store_.fd(), tree.c_str(), &there) != 0 ||
                        (there.st_dev == verified.st_dev && there.st_ino == verified.st_ino);
      if (same) return damages;  // else an import has put a whole one there
    }
  }

  FsckFinding& Found(Kind kind, std::string name, std::vector<TreeDamage> damages) {
    FsckFinding& finding = report_.findings.emplace_back();
    finding.kind = kind;
    finding.name = std::move(name);
    finding.damages = std::move(damages);
    return finding;
  }

  // Ends a repair: what somebody uses stays as it is.
  static Result<void> Conclude(FsckFinding& finding, Result<void> repaired) {
    if (repaired) {
      finding.outcome = Outcome::kRepaired;
    } else if (IsInUse(repaired.error())) {
      finding.outcome = Outcome::kInUse;
    } else {
      return repaired;
    }
    return {};
  }

  Result<void> CheckLayer(const LayerId& id) {
    ++report_.layers;
    const std::string path = LayerPathIn("layers", id);
    if (!Exists(store_, path)) {
      auto recovered = RecoverLayer(store_, id);  // puts a damaged one aside by itself
      if (!recovered && recovered.error().code() != Errc::kCorrupt) return recovered;
      if (!recovered) {
        FsckFinding& finding = Found(Kind::kLayer, id.Hex(), {{"", recovered.error().message()}});
        finding.actions.push_back("moved to " + LayerPathIn("damaged", id));
        return Conclude(finding, {});
      }
      if (!Exists(store_, path)) --report_.layers;  // somebody has removed it
      return {};
    }
    STRATA_ASSIGN_WITH(std::vector<TreeDamage> damages,
                       VerifyLeased(path, [&] { return Verify(path, id); }),
                       fmt::format("layer {:.12}", id.Hex()));
    if (damages.empty()) ClearDamaged(store_, id);
    if (damages.empty() || !Exists(store_, path)) return {};
    FsckFinding& finding = Found(Kind::kLayer, id.Hex(), std::move(damages));
    if (repair()) STRATA_TRY(Conclude(finding, PutLayerAside(id, finding)));
    if (finding.outcome != Outcome::kRepaired) MarkDamaged(store_, id);
    return {};
  }

  Result<void> PutLayerAside(const LayerId& id, FsckFinding& finding) {
    const std::string path = LayerPathIn("layers", id);
    STRATA_ASSIGN(FileLock lock, LockTree(path));
    STRATA_TRY(RemoveRoots(finding, [&](const CachedRoot& root) {
      auto set = DependencySet::Decode(root.encoded_set);
      if (!set) return true;
      return std::any_of(set->items.begin(), set->items.end(),
                         [&](const SetItem& item) { return item.id == id; });
    }));
    // They share its files.
    STRATA_TRY(RemoveMaterialisations(store_, path));
    STRATA_TRY(store_.OpenDir("damaged"));
    STRATA_TRY(DropAside(store_, id));
    const std::string to = LayerPathIn("damaged", id);
    STRATA_TRY(sys::Check(sys::RenameAt2(store_.fd(), path.c_str(), store_.fd(), to.c_str()),
                          "rename", path));
    finding.actions.push_back("moved to " + to);
    return {};
  }

  // Exclusively; where there is no tree, nobody can be using it.
  Result<FileLock> LockTree(const std::string& path) {
    auto lock =
        FileLock::OnDirectory(store_.fd(), path + "/tree", LockMode::kExclusive, LockWait::kFail);
    if (lock) return lock;
    int sys_errno = lock.error().sys_errno();
    if (sys_errno == ENOENT || sys_errno == ENOTDIR || sys_errno == ELOOP) return FileLock();
    return lock;
  }

  template <typename Condition>
  Result<void> RemoveRoots(FsckFinding& finding, const Condition& condition) {
    STRATA_ASSIGN(std::vector<RootKey> keys, RootsThat(condition));
    for (const RootKey& key : keys) {
      STRATA_TRY(RemoveRoot(store_, key));
      finding.actions.push_back(fmt::format("root {:.12} removed", key.Hex()));
    }
    return {};
  }

  // kBusy where one of them is mounted by a stage that was left in place.
  template <typename Condition>
  Result<std::vector<RootKey>> RootsThat(const Condition& condition) {
    std::vector<RootKey> held;
    if (options_.held) {
      STRATA_ASSIGN(held, options_.held(store_));
    }
    STRATA_ASSIGN(std::vector<RootKey> keys, ListRoots(store_));
    std::vector<RootKey> found;
    for (const RootKey& key : keys) {
      auto root = OpenRoot(store_, key);
      if (!root && root.error().code() == Errc::kSystem) return Unexpected(root.error());
      if (!root || !condition(*root)) continue;
      if (std::find(held.begin(), held.end(), key) != held.end()) {
        return Fail(Errc::kBusy, "root {:.12} is in use by a running stage", key.Hex());
      }
      found.push_back(key);
    }
    return found;
  }

  // Roots that somebody gave a name or a pin.
  Result<std::vector<RootKey>> KeptRoots() {
    std::vector<RootKey> kept;
    STRATA_ASSIGN(std::vector<Store::Ref> refs, store_.ListRefs());
    for (const Store::Ref& ref : refs) {
      if (ref.target.is_root()) kept.push_back(ref.target.root);
    }
    STRATA_ASSIGN(std::vector<std::string> pins, ListNames(store_, "pins"));
    for (const std::string& pin : pins) {
      if (auto key = RootKey::FromHex(pin)) kept.push_back(*key);
    }
    return kept;
  }

  Result<std::vector<TreeDamage>> VerifyDerived(const std::string& name) {
    const std::string path = "derived/" + name;
    // What was read of an unmanaged directory: a manifest, beside a tree that stays empty.
    if (name.starts_with("dir-")) return VerifyManifest(store_.fd(), path);
    const auto materialisation = ParseMaterialisation(name);
    if (!materialisation) return VerifyMadeOfLayers(path);
    const std::optional<IdMapping> mapping = FindMapping(*materialisation);
    if (!mapping) {
      return std::vector<TreeDamage>{
          {"", "is for ids that /etc/subuid and /etc/subgid do not give"}};
    }
    VerifyOptions verify;
    verify.jobs = options_.jobs;
    verify.owners = &*mapping;
    return VerifyInMapping(store_.fd(), path, std::nullopt, *mapping, verify);
  }

  Result<std::vector<TreeDamage>> VerifyMadeOfLayers(const std::string& path) {
    STRATA_ASSIGN(std::vector<TreeDamage> damages, Verify(path, std::nullopt));
    auto manifest = Manifest::Open(store_.fd(), path + "/manifest");
    if (!manifest) return damages;  // which says why
    std::string problem = CheckProviders(store_, path, manifest->size());
    if (!problem.empty()) damages.push_back({kProvidersFile, std::move(problem)});
    return damages;
  }

  Result<void> CheckDerived(const std::string& name) {
    const std::string path = "derived/" + name;
    ++report_.derived;
    STRATA_ASSIGN_WITH(std::vector<TreeDamage> damages,
                       VerifyLeased(path, [&] { return VerifyDerived(name); }),
                       fmt::format("derived layer {}", name));
    if (damages.empty() || !Exists(store_, path)) return {};
    FsckFinding& finding = Found(Kind::kDerived, name, std::move(damages));
    if (!repair()) return {};
    auto remove = [&]() -> Result<void> {
      STRATA_ASSIGN(FileLock lock, LockTree(path));
      STRATA_ASSIGN(std::vector<RootKey> keys, RootsThat([&](const CachedRoot& root) {
                      const auto& lowers = root.content.lowers;
                      return std::find(lowers.begin(), lowers.end(), path + "/tree") !=
                             lowers.end();
                    }));
      STRATA_ASSIGN(std::vector<RootKey> kept, KeptRoots());
      std::vector<FileLock> unused;  // nobody mounts them before it is gone
      for (const RootKey& key : keys) {
        if (std::find(kept.begin(), kept.end(), key) == kept.end()) {
          STRATA_TRY(RemoveRoot(store_, key));
          finding.actions.push_back(fmt::format("root {:.12} removed", key.Hex()));
          continue;
        }
        STRATA_ASSIGN(FileLock root,
                      FileLock::OnExistingFile(store_.fd(), "roots/" + key.Hex(),
                                               LockMode::kExclusive, LockWait::kFail));
        unused.push_back(std::move(root));
      }
      STRATA_TRY(RemoveMaterialisations(store_, path));
      std::string trash = "trash/" + RandomName();
      STRATA_TRY(sys::Check(sys::RenameAt2(store_.fd(), path.c_str(), store_.fd(), trash.c_str()),
                            "rename", path));
      finding.actions.push_back("removed; it is made again when it is needed");
      return RemoveTree(store_.fd(), trash);
    };
    return Conclude(finding, remove());
  }

  Result<void> CheckRoot(const std::string& name) {
    auto key = RootKey::FromHex(name);
    if (!key) return {};
    ++report_.roots;
    std::vector<TreeDamage> damages;
    {
      auto root = OpenRoot(store_, *key);
      if (!root && root.error().code() == Errc::kNotFound) return {};
      if (!root && root.error().code() != Errc::kCorrupt) return Unexpected(root.error());
      if (!root) {
        damages.push_back({"", "does not fit its checksum or its key"});
      } else {
        for (const std::string& lower : root->content.lowers) {
          // A derived layer that is missing is made again when the root is used.
          if (!lower.starts_with("layers/") || Exists(store_, lower)) continue;
          damages.push_back({"", fmt::format("mounts {}, which is missing", lower)});
        }
      }
    }
    if (damages.empty()) return {};
    FsckFinding& finding = Found(Kind::kRoot, name, std::move(damages));
    if (!repair()) return {};
    Result<void> removed = RemoveRoot(store_, *key);
    if (!removed && removed.error().code() == Errc::kNotFound) removed = {};
    if (removed) finding.actions.push_back("removed; it is composed again when it is needed");
    return Conclude(finding, std::move(removed));
  }

  // "layer ID" or "root KEY"; empty where it is damaged.
  static std::string PathOfTarget(std::string_view text) {
    if (text.empty() || text.back() != '\n') return {};
    text.remove_suffix(1);
    constexpr std::string_view kLayer = "layer ";
    constexpr std::string_view kRoot = "root ";
    if (text.substr(0, kLayer.size()) == kLayer) {
      auto id = Digest::FromHex(text.substr(kLayer.size()));
      if (id) return LayerPathIn("layers", *id);
    } else if (text.substr(0, kRoot.size()) == kRoot) {
      auto key = RootKey::FromHex(text.substr(kRoot.size()));
      if (key) return "roots/" + key->Hex();
    }
    return {};
  }

  Result<void> CheckRef(const std::string& file) {
    if (file.find('#') != std::string::npos) return {};  // one that was being written
    std::string name = file;
    for (size_t at; (at = name.find("%2F")) != std::string::npos;) name.replace(at, 3, "/");
    ++report_.refs;
    auto text = ReadFile(store_.fd(), "refs/" + file, 4096);
    if (!text && text.error().sys_errno() == ENOENT) return {};
    std::string path = text ? PathOfTarget(*text) : std::string();
    if (!path.empty() && Exists(store_, path)) return {};
    std::string problem = !text           ? text.error().message()
                          : text->empty() ? "is empty"
                          : path.empty()  ? fmt::format("says '{:.80}'", QuotePath(*text))
                                          : fmt::format("leads to {}, which is not there", path);
    FsckFinding& finding = Found(Kind::kRef, std::move(name), {{"", std::move(problem)}});
    if (!repair()) return {};
    STRATA_TRY(sys::Check(sys::UnlinkAt(store_.fd(), ("refs/" + file).c_str()), "unlink", file));
    finding.actions.push_back("removed");
    return Conclude(finding, {});
  }

  Result<void> CheckPin(const std::string& file) {
    std::string path;
    if (auto id = Digest::FromHex(file)) path = LayerPathIn("layers", *id);
    if (auto key = RootKey::FromHex(file)) path = "roots/" + key->Hex();
    if (!path.empty() && Exists(store_, path)) return {};
    FsckFinding& finding =
        Found(Kind::kPin, file, {{"", path.empty() ? "is no id" : "pins what is not there"}});
    if (!repair()) return {};
    STRATA_TRY(sys::Check(sys::UnlinkAt(store_.fd(), ("pins/" + file).c_str()), "unlink", file));
    finding.actions.push_back("removed");
    return Conclude(finding, {});
  }

  Result<void> CountTheRest() {
    for (const char* place : {"tmp", "trash", "stages"}) {
      STRATA_ASSIGN(std::vector<std::string> names, ListNames(store_, place));
      for (const std::string& name : names) {
        struct stat st;
        std::string path = fmt::format("{}/{}", place, name);
        if (sys::FstatAt(store_.fd(), path.c_str(), &st) < 0) continue;
        const bool directory = S_ISDIR(st.st_mode);
        if (std::string_view(place) == "stages" && (st.st_mode & 07777) == 01700) continue;
        auto lock =
            directory ? FileLock::OnDirectory(store_.fd(), path, LockMode::kShared, LockWait::kFail)
                      : Result<FileLock>(FileLock());
        if (lock) ++report_.leftovers;  // else its owner is at work
      }
    }
    STRATA_ASSIGN(std::vector<std::string> aside, ListNames(store_, "damaged"));
    for (const std::string& name : aside) {
      ++(ReplacedLayer(name) ? report_.replaced : report_.put_aside);
    }
    return {};
  }

  const Store& store_;
  const FsckOptions& options_;
  FsckReport report_;
  KnownContents known_;
};

}  // namespace

std::string_view FsckKindName(FsckFinding::Kind kind) {
  constexpr std::string_view kNames[] = {"layer", "derived layer", "root", "ref", "pin"};
  return kNames[static_cast<size_t>(kind)];
}

Result<FsckReport> Fsck(const Store& store, const FsckOptions& options) {
  return Checker(store, options).Run();
}

}  // namespace strata
