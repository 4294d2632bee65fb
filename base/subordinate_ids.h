// SPDX-License-Identifier: Apache-2.0
//
// Which ids somebody has: the texts of /etc/subuid, /etc/passwd and /proc/self/uid_map, and what
// they come to. No file is read here. What makes no sense in a text is skipped: newuidmap and the
// kernel have the last word about every id.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/id_map.h"

namespace strata {

// The ranges in a text like /etc/subuid (owner:first:count) whose owner is `name` or the number
// `id`, in the order of the text, as `outside` and `count`.
std::vector<IdRange> ParseSubordinateRanges(std::string_view text, std::string_view name,
                                            uint32_t id);

// The first name with the uid `uid` in a text like /etc/passwd; empty if there is none.
std::string FindUserName(std::string_view passwd, uint32_t uid);

// A text like /proc/self/uid_map.
std::vector<IdRange> ParseIdMap(std::string_view text);

// `own` as id 0, and what `ranges` give as 1, 2, 3 ... An id counts once, and only where `current`,
// the map of the namespace that we are in, has it.
std::vector<IdRange> JoinSubordinateRanges(uint32_t own, const std::vector<IdRange>& ranges,
                                           const std::vector<IdRange>& current);

// Of the ids 0 to 65535, those that `current` has, each as itself.
std::vector<IdRange> IdentityRanges(const std::vector<IdRange>& current);

}  // namespace strata
