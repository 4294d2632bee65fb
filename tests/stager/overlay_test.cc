// SPDX-License-Identifier: Apache-2.0
#include "stager/overlay.h"

#include <filesystem>

#include "tests/support/overlay_view.h"
#include "tests/support/store_fixture.h"

namespace strata {
namespace {

using testing::InNamespace;
using testing::Must;

class OverlayTest : public testing::StoreFixture {
 protected:
  // A directory with a file `x` that says `name`.
  std::string Lower(const std::string& name) {
    NewDir(name);
    Must(ReplaceFile(AT_FDCWD, Path(name + "/x"), name));
    return Path(name);
  }

  // Mounts in a namespace, and returns what `look` sees there.
  Result<std::string> Mounted(const std::vector<std::string>& lowers, bool writable,
                              const std::function<Result<std::string>(int root_fd)>& look) {
    const std::string at = NewDir("at");
    const std::string upper = NewDir("upper");
    const std::string work = NewDir("work");
    std::vector<const char*> pointers;
    for (const std::string& lower : lowers) pointers.push_back(lower.c_str());
    return InNamespace([&]() -> Result<std::string> {
      OverlayPlan plan{.lowers = pointers.data(), .lower_count = pointers.size()};
      plan.attributes = MOUNT_ATTR_NOSUID | (writable ? 0U : unsigned{MOUNT_ATTR_RDONLY});
      if (writable) {
        plan.upper = upper.c_str();
        plan.work = work.c_str();
      }
      ChildFailure failure;
      UniqueFd root(MountOverlay(plan, at.c_str(), &failure));
      if (!root.valid()) return Unexpected(failure.ToError());
      return look(root.get());
    });
  }
  static Result<std::string> X(int root_fd) { return ReadFile(root_fd, "x", 1000); }
};

TEST_F(OverlayTest, TheLastLowerIsOnTop) {
  EXPECT_EQ(Must(Mounted({Lower("one"), Lower("two")}, false, X)), "two");
}

TEST_F(OverlayTest, ReturnsTheRootThatIsAttached) {
  Must(Mounted({Lower("one"), Lower("two")}, true, [&](int root_fd) -> Result<std::string> {
    Must(ReplaceFile(root_fd, "new", "n"));
    EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("at/new"), 10)), "n");
    return std::string();
  }));
  EXPECT_EQ(Must(ReadFile(AT_FDCWD, Path("upper/new"), 10)), "n");
}

TEST_F(OverlayTest, IsReadOnlyWithoutAnUpper) {
  Must(Mounted({Lower("one"), Lower("two")}, false, [](int root_fd) -> Result<std::string> {
    EXPECT_EQ(sys::MkdirAt(root_fd, "new", 0755), -EROFS);
    return std::string();
  }));
}

TEST_F(OverlayTest, IsVolatile) {
  Must(Mounted({Lower("one")}, true, [](int) { return Result<std::string>(""); }));
  // The kernel's own mark.
  EXPECT_TRUE(std::filesystem::exists(Path("work/work")));
}

TEST_F(OverlayTest, TakesPathsThatAreLongerThanAnOption) {
  const std::string far = std::string(150, 'a') + "/" + std::string(150, 'b');
  NewDir(far);
  EXPECT_EQ(Must(Mounted({Lower("one"), Lower(far + "/two")}, false, X)), far + "/two");
}

TEST_F(OverlayTest, TakesPathsWithTheCharactersThatOptionsAreMadeOf) {
  const std::string odd = "a,b:c\\d=e f";
  EXPECT_EQ(Must(Mounted({Lower("one"), Lower(odd)}, true, X)), odd);
}

TEST_F(OverlayTest, NamesTheLayerThatIsMissing) {
  auto result = Mounted({Lower("one"), Path("nowhere")}, true, X);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("nowhere"), std::string::npos)
      << result.error().message();
}

TEST_F(OverlayTest, RefusesNoLayersAndMoreThanTheKernelTakes) {
  EXPECT_FALSE(Mounted({}, true, X));
  EXPECT_FALSE(Mounted(std::vector<std::string>(kMaxOverlayLowers + 1, Lower("one")), true, X));
}

}  // namespace
}  // namespace strata
