// SPDX-License-Identifier: Apache-2.0
//
// An import of any bytes at all, as a tar archive and as an OCI layer: it fails, or it makes a layer that fsck finds
// whole.
#include <fmt/format.h>

#include <cstdlib>

#include "cache/fsck.h"
#include "cache/import.h"
#include "tests/fuzz/fuzz_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using testing::FuzzStore;
  using testing::Must;
  FuzzStore& fuzz = FuzzStore::Get();
  Must(ReplaceFile(fuzz.temp_fd(), "x.tar", {reinterpret_cast<const char*>(data), size}));
  for (SourceFormat format : {SourceFormat::kTar, SourceFormat::kOci}) {
    ImportOptions options;
    options.format = format;
    options.jobs = 1;
    LayerId id;
    {
      auto imported = Import(fuzz.store(), fuzz.Path("x.tar"), options);
      if (!imported) continue;
      id = imported->id;
    }
    FsckOptions check;
    check.layers = {id};
    check.jobs = 1;
    auto report = Fsck(fuzz.store(), check);
    if (report) {
      for (const FsckFinding& finding : report->findings) {
        fmt::print(stderr, "{}: {}\n", finding.damages[0].path, finding.damages[0].problem);
        std::abort();
      }
    }
    Must(fuzz.store().RemoveLayer(id));
  }
  return 0;
}
