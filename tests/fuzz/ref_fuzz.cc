// SPDX-License-Identifier: Apache-2.0
//
// Refs: any content of the file, and any name.
#include <cstdlib>

#include "tests/fuzz/fuzz_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using testing::FuzzStore;
  using testing::Must;
  FuzzStore& fuzz = FuzzStore::Get();
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Must(ReplaceFile(fuzz.store().fd(), "refs/fuzzed", text));
  auto target = fuzz.store().ReadTarget("fuzzed");
  if (target && std::string(target->KindName()) + " " + target->Hex() + "\n" != text) std::abort();
  static_cast<void>(fuzz.store().ListRefs());
  if (text.find('\0') != std::string_view::npos) return 0;
  // A name that is allowed stays below refs/.
  auto resolved = fuzz.store().ReadTarget(text);
  if (resolved && text != "fuzzed") std::abort();
  static_cast<void>(fuzz.store().Resolve(text));
  return 0;
}
