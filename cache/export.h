// SPDX-License-Identifier: Apache-2.0
//
// Export: a layer becomes a tar archive, or an OCI image of one layer. The same layer gives the
// same bytes, on every machine. Importing the archive again gives the same layer id.
//
// Owners, setuid bits and attributes come from the manifest, content from the tree. Memory does not
// grow with the layer. Safe to call from several threads.
#pragma once

#include <string>

#include "base/result.h"
#include "cache/import.h"
#include "cache/store.h"

namespace strata {

enum class ExportFormat {
  kTar,  // pax. A layer with whiteouts or opaque directories is refused: a plain tar has no such
         // things
  kOci,  // an OCI image layout, in a tar archive: what `podman load` and `skopeo copy oci-archive:`
         // read
};

struct ExportOptions {
  ExportFormat format = ExportFormat::kTar;
  std::string name;  // of the image (kOci), as org.opencontainers.image.ref.name; may be empty
  Progress* progress = nullptr;
};

// Writes to `fd`, which may be a pipe; `fd_name` is for messages. Holds a lease on the layer. For
// an ordinary user, files that their owner may not read need a user namespace around the call
// (NeedsUserNamespace).
Result<void> ExportLayer(const Store& store, const LayerId& id, int fd, const std::string& fd_name,
                         const ExportOptions& options);

// Whether an ordinary user could not read the tree of this layer by its modes alone.
bool NeedsUserNamespace(const Manifest& manifest);

}  // namespace strata
