// SPDX-License-Identifier: Apache-2.0
//
// Random layer sets, composed in every way that there is, against the reference model: the same
// tree, entry by entry, and the same conflicts.
//
//   STRATA_PROPERTY_SEED=N   run the set with this seed only (what a failure prints)
//   STRATA_PROPERTY_SETS=N   how many sets each of the 8 shards takes; reports up to 20 that fail
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <optional>

#include "base/temp_dir.h"
#include "stager/compose.h"
#include "stager/flatten_chain.h"
#include "tests/support/composed_view.h"
#include "tests/support/random_stage.h"
#include "tests/support/store_fixture.h"

namespace strata::testing {
namespace {

constexpr unsigned kShards = 8;
constexpr unsigned kSetsOfAShard = 400;
constexpr unsigned kSetsOnDisk = 100;  // in shard 0: files cost far more there

std::optional<unsigned> NumberFrom(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return static_cast<unsigned>(std::stoul(text));
}

struct Published {
  std::vector<RefLayer> layers;
  std::vector<LayerId> ids;

  DependencySet Set(ConflictPolicy policy) const {
    DependencySet set;
    for (const LayerId& id : ids) set.items.push_back({id, ""});
    set.on_conflict = policy;
    return set;
  }
};

const char* PolicyName(ConflictPolicy policy) {
  return policy == ConflictPolicy::kError     ? "error"
         : policy == ConflictPolicy::kReplace ? "replace"
                                              : "skip";
}

class StagingPropertyTest : public StoreFixture, public ::testing::WithParamInterface<unsigned> {
 protected:
  Published Publish(const std::vector<RefLayer>& layers) const {
    Published set{layers, {}};
    for (const RefLayer& layer : layers) set.ids.push_back(PublishLayer(store(), layer));
    return set;
  }

  // What is wrong with how the set is staged; empty: nothing.
  std::string Problems(const std::vector<RefLayer>& layers) {
    const Published set = Publish(layers);
    std::string problems = ConflictProblems(set);
    for (ConflictPolicy policy : {ConflictPolicy::kReplace, ConflictPolicy::kSkip}) {
      if (problems.empty()) problems = TreeProblems(set, policy);
    }
    return problems;
  }

  ComposeOptions Options(const Published& set) const {
    ComposeOptions options;
    options.jobs = 1;
    options.name_of = [&set](const SetItem& item) {
      // The topmost place counts.
      for (size_t i = set.ids.size(); i-- > 0;) {
        if (set.ids[i] == item.id) return fmt::format("<{}>", i);
      }
      return std::string("<unknown>");
    };
    return options;
  }

  std::string ConflictProblems(const Published& set) {
    const RefResult expected = ReferenceStager::Stage(set.layers, ConflictPolicy::kError);
    Result<RootDraft> draft = DraftRoot(store(), set.Set(ConflictPolicy::kError), Options(set));
    if (draft) {
      if (expected.conflicts.empty()) return {};
      return "not refused; the conflicts are " + ShowConflicts(expected.conflicts) + "\n";
    }
    const std::string message = draft.error().message();
    if (draft.error().code() != Errc::kInvalid) return "failed: " + message + "\n";
    // The first one that it names; the path as in the layer, or as where that belongs.
    const std::string first = message.substr(0, message.find("; /"));
    auto names = [&](const std::string& what) { return first.find(what) != std::string::npos; };
    for (const RefConflict& c : expected.conflicts) {
      if ((names(" " + QuotePath("/" + JoinPath(c.path)) + ":") ||
           names(" " + QuotePath("/" + JoinPath(c.source)) + ":")) &&
          names(fmt::format("<{}>", c.lower)) && names(fmt::format("<{}>", c.upper))) {
        return {};
      }
    }
    return fmt::format("refused: {}\nthe conflicts are {}\n", message,
                       ShowConflicts(expected.conflicts));
  }

  struct Way {
    std::string name;
    RootDraft draft;
  };

  std::string TreeProblems(const Published& set, ConflictPolicy policy) {
    const RefResult expected = ReferenceStager::Stage(set.layers, policy);
    const Facts facts = ExpectedFactsOf(expected.tree);
    const Tree tree = ExpectedTreeOf(expected.tree);

    std::vector<Way> ways;
    if (Result<void> composed = ComposeInEveryWay(set, policy, ways); !composed) {
      return fmt::format("with {}: {}\n", PolicyName(policy), composed.error().message());
    }
    std::vector<std::function<Result<UniqueFd>()>> openers;
    for (const Way& way : ways) {
      Result<Facts> merged = MergedFacts(store(), way.draft.content);
      std::string problem = merged ? Difference(*merged, facts) : merged.error().message();
      if (!problem.empty()) return Where(policy, way, "by the manifests") + problem + "\n";
      if (way.draft.warnings.empty() != expected.conflicts.empty()) {
        return Where(policy, way, "as to warnings") + ShowConflicts(expected.conflicts) + "\n";
      }
      openers.push_back([&] { return OpenMount(way.draft.content); });
    }
    // The other stagers make one tree of what is mounted.
    const TempDir trees = Must(TempDir::Create(place_fd_.get(), "trees-"));
    std::vector<std::string> names;
    for (const Way& way : ways) {
      for (PlaceFile how : {PlaceFile::kLink, PlaceFile::kReflink, PlaceFile::kCopy}) {
        Result<std::string> made = MakeRoot(way, how, trees);
        if (!made) return Where(policy, way, HowName(how)) + made.error().message() + "\n";
        if (made->empty()) continue;  // cannot be done here
        names.push_back(Where(policy, way, HowName(how)));
        openers.push_back(
            [path = *made] { return OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY); });
      }
    }
    Result<std::vector<Tree>> seen = ReadRoots(openers);
    if (!seen) return fmt::format("with {}: {}\n", PolicyName(policy), seen.error().message());
    for (size_t i = 0; i < seen->size(); ++i) {
      const std::string problem = Difference((*seen)[i], tree);
      if (problem.empty()) continue;
      return (i < ways.size() ? Where(policy, ways[i], "in the mount") : names[i - ways.size()]) +
             problem;
    }
    return {};
  }

  static const char* HowName(PlaceFile how) {
    return how == PlaceFile::kLink ? "linked" : how == PlaceFile::kReflink ? "reflinked" : "copied";
  }

  // The path; empty where this file system cannot do it.
  Result<std::string> MakeRoot(const Way& way, PlaceFile how, const TempDir& trees) {
    const std::string name = fmt::format("{}-{}", way.name, HowName(how));
    STRATA_TRY(MakeDirs(trees.fd(), name, 0700));
    STRATA_ASSIGN(UniqueFd tree, OpenAt(trees.fd(), name, O_RDONLY | O_DIRECTORY));
    MakeTreeOptions options;
    options.place = how;
    options.jobs = 1;
    Result<void> made = MakeRootTree(store(), way.draft.content, tree.get(), options);
    if (!made && how == PlaceFile::kReflink && made.error().code() == Errc::kUnsupported) return "";
    STRATA_TRY(made);
    return place_ + "/" + trees.name() + "/" + name;
  }

  static std::string Where(ConflictPolicy policy, const Way& way, const char* where) {
    return fmt::format("with {}, {} ({}), {}:\n", PolicyName(policy), way.name,
                       RootMethodName(way.draft.content.method), where);
  }

  // As it is; direct whatever its length; in two segments; and as a delta on the segments (on
  // the one segment, in half of the cases) of all but one of its layers.
  Result<void> ComposeInEveryWay(const Published& set, ConflictPolicy policy,
                                 std::vector<Way>& ways) {
    auto add = [&](const char* name, const DependencySet& wanted,
                   const ComposeOptions& options) -> Result<void> {
      STRATA_ASSIGN_WITH(RootDraft draft, DraftRoot(store(), wanted, options), name);
      ways.push_back({name, std::move(draft)});
      return {};
    };
    DependencySet wanted = set.Set(policy);
    ComposeOptions options = Options(set);
    options.max_direct = 100;
    STRATA_TRY(add("direct", wanted, options));
    options.max_direct = 1;
    options.max_segments = 2;
    options.delta_part = 0;
    STRATA_TRY(add("segments", wanted, options));

    DependencySet other = wanted;
    other.Deduplicate();
    if (other.items.size() < 3) return {};
    other.items.erase(other.items.begin() + static_cast<long>(other.items.size() / 2));
    if (policy == ConflictPolicy::kReplace)
      options.max_segments = 1;  // a quick one, where it can be
    STRATA_ASSIGN_WITH(RootDraft base, DraftRoot(store(), other, options), "the base of a delta");
    STRATA_ASSIGN(CachedRoot root, PublishRoot(store(), base.set.Encode(), base.content));
    options.delta_part = 1;
    STRATA_TRY(add("delta", wanted, options));
    const RootKey key = root.key;
    root.lease = FileLock();
    return RemoveRoot(store(), key);
  }

  Result<UniqueFd> OpenMount(const RootContent& content) {
    OverlayDirs dirs;
    // Read-only, the kernel wants two; as at the bottom of every stage, one that is empty.
    dirs.lower.push_back(place_ + "/empty");
    for (const std::string& lower : content.lowers) {
      dirs.lower.push_back(lower[0] == '/' ? lower : store().path() + "/" + lower);
    }
    STRATA_ASSIGN(UniqueFd mount, MountOverlay(dirs));
    return OpenAt(mount.get(), ".", O_RDONLY | O_DIRECTORY);
  }

  // Takes away layers and entries as long as something is wrong with what is left.
  std::vector<RefLayer> Minimal(std::vector<RefLayer> layers) {
    for (bool smaller = true; smaller;) {
      smaller = false;
      for (const std::vector<RefLayer>& fewer : Smaller(layers)) {
        if (Problems(fewer).empty()) continue;
        layers = fewer;
        smaller = true;
        break;
      }
    }
    return layers;
  }

  static std::vector<std::vector<RefLayer>> Smaller(const std::vector<RefLayer>& layers) {
    std::vector<std::vector<RefLayer>> all;
    for (size_t i = 0; i < layers.size() && layers.size() > 1; ++i) {
      all.push_back(layers);
      all.back().erase(all.back().begin() + static_cast<long>(i));
    }
    for (size_t i = 0; i < layers.size(); ++i) {
      for (const auto& [path, entry] : layers[i].entries) {
        std::vector<RefLayer> fewer = layers;
        std::erase_if(fewer[i].entries, [&path = path](const auto& item) {
          return item.first.size() >= path.size() &&
                 std::equal(path.begin(), path.end(), item.first.begin());
        });
        for (auto& [other, left] : fewer[i].entries) left.group.clear();
        all.push_back(std::move(fewer));
        if (entry.is(EntryType::kWhiteout) || entry.is(EntryType::kFifo) || entry.implicit)
          continue;
        RefEntry plain;
        plain.type = entry.type;
        plain.mode = entry.is(EntryType::kSymlink) ? 0777 : 0755;
        plain.content = entry.content;
        plain.target = entry.target;
        plain.opaque = entry.opaque;
        if (plain.SameAs(entry)) continue;
        all.push_back(layers);
        all.back()[i].entries[path] = plain;
      }
    }
    return all;
  }

  // Empty, or what to show a person.
  std::string Report(unsigned seed) {
    const std::vector<RefLayer> layers = RandomStage(seed).Layers();
    const std::string problems = Problems(layers);
    if (problems.empty()) return {};
    const std::vector<RefLayer> minimal = Minimal(layers);
    return fmt::format("STRATA_PROPERTY_SEED={}\n{}the least that shows it:\n{}{}\n", seed,
                       problems, ListLayers(minimal), Problems(minimal));
  }

  std::string ReportOn(unsigned first, unsigned count, unsigned at_most) {
    std::string reports;
    for (unsigned i = 0; i < count && at_most > 0; ++i) {
      const std::string report = Report(first + i);
      reports += report;
      if (!report.empty()) --at_most;
    }
    return reports;
  }

  // Of the sets, in the child; not that of the fixture.
  const Store& store() const { return *store_; }
  static void MountMemory(const std::string& place) {
    if (::mount("none", place.c_str(), "tmpfs", 0, "mode=755") != 0) return;
    UniqueFd fd(::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (::fsetxattr(fd.get(), "user.k", "1", 1, 0) == 0) return;
    fd.reset();
    ::umount2(place.c_str(), MNT_DETACH);
  }

  std::optional<Store> store_;
  std::string place_;  // where the sets are
  UniqueFd place_fd_;
};

// In a child that is root of a namespace: on a memory file system of its own there, where it can
// have one with attributes (Linux 6.6), for some 2,000 sets make 200,000 files. One shard is always
// on the file system of $TMPDIR.
TEST_P(StagingPropertyTest, EveryWayToComposeShowsTheTreeOfTheDefinition) {
  const std::string place = NewDir("sets");
  const std::optional<unsigned> seed = NumberFrom("STRATA_PROPERTY_SEED");
  if (seed && GetParam() != 0) return;
  const std::optional<unsigned> many = NumberFrom("STRATA_PROPERTY_SETS");
  const unsigned sets = many.value_or(GetParam() == 0 ? kSetsOnDisk : kSetsOfAShard);
  Result<std::string> reports = InNamespace([&]() -> Result<std::string> {
    if (GetParam() != 0) MountMemory(place);
    STRATA_TRY(MakeDirs(AT_FDCWD, place + "/empty", 0755));
    STRATA_ASSIGN(Store store, Store::Open(place + "/store"));
    store_.emplace(std::move(store));
    place_ = place;
    STRATA_ASSIGN(place_fd_, OpenAt(AT_FDCWD, place, O_RDONLY | O_DIRECTORY));
    if (seed) return Report(*seed);
    return ReportOn(GetParam() * many.value_or(kSetsOfAShard), sets, many ? 20 : 1);
  });
  ASSERT_TRUE(reports) << reports.error().message();
  EXPECT_TRUE(reports->empty()) << *reports;
}

INSTANTIATE_TEST_SUITE_P(Shards, StagingPropertyTest, ::testing::Range(0U, kShards));

}  // namespace
}  // namespace strata::testing
