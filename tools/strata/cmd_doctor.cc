// SPDX-License-Identifier: Apache-2.0
//
// strata doctor: what this machine can do, what is missing, what that means, and how to get it.
#include <string>
#include <string_view>
#include <vector>

#include "tools/strata/checks.h"
#include "tools/strata/command.h"
#include "tools/strata/json.h"
#include "tools/strata/values.h"

namespace strata {
namespace {

constexpr OptionSpec kDoctorOptions[] = {kJsonOption};

// The names of the checks that were not tried for want of `cause`.
std::string NotTriedWithout(const Check& cause, const std::vector<Check>& checks) {
  std::string names;
  for (const Check& check : checks) {
    if (check.needs == nullptr || std::string_view(check.needs) != cause.name) continue;
    names += names.empty() ? "" : ", ";
    names += check.name;
  }
  return names;
}

// What to do is said once, where it helps several.
std::string FixOf(const Check& check, const std::vector<Check>& checks) {
  for (const Check& other : checks) {
    if (&other == &check) break;
    if (!other.good && other.needs == nullptr && other.fix == check.fix) {
      return fmt::format("as for {}", other.name);
    }
  }
  return check.fix;
}

void PrintChecks(Output& out, const std::vector<Check>& checks, bool can_run) {
  for (const Check& check : checks) {
    if (check.needs != nullptr) continue;  // named with its cause
    const char* status = check.good ? "ok" : check.required ? "FAILED" : "missing";
    out.Print("{:<8} {}", status, check.name);
    if (!check.detail.empty()) out.Print(": {}", check.detail);
    out.Write("\n");
    if (check.good) continue;
    if (!check.effect.empty()) out.Print("         effect: {}\n", check.effect);
    out.Print("         fix: {}\n", FixOf(check, checks));
    const std::string others = NotTriedWithout(check, checks);
    if (!others.empty()) out.Print("         not tried without it: {}\n", others);
  }
  out.Print("\n{}\n", can_run ? "strata run can work here." : "strata run cannot work here.");
}

Result<int> Doctor(Context& context, const ParsedArgs&) {
  std::vector<Check> checks = RunChecks(context);
  bool can_run = true;
  for (const Check& check : checks) {
    if (check.required && !check.good) can_run = false;
  }
  if (!context.json) {
    PrintChecks(context.out, checks, can_run);
    return can_run ? 0 : 1;
  }
  Json json;
  json["can_run"] = can_run;
  json["checks"] = Json::array();
  for (const Check& check : checks) {
    Json entry;
    entry["name"] = check.name;
    entry["ok"] = check.good;
    entry["required"] = check.required;
    SetText(entry, "detail", check.detail);
    if (!check.means.empty()) entry["means"] = check.means;
    if (!check.good) {
      entry["effect"] = check.effect;
      entry["fix"] = check.fix;
    }
    if (check.needs != nullptr) entry["needs"] = check.needs;
    json["checks"].push_back(std::move(entry));
  }
  PrintJson(context.out, json);
  return can_run ? 0 : 1;
}

}  // namespace

constinit const CommandSpec kDoctorCommand = {
    .name = "doctor",
    .summary = "Say what this machine can do, what is missing, and how to fix it",
    .usage = "[--json]",
    .description =
        "Everything is tried, nothing is concluded from version numbers. What cannot work without\n"
        "another thing that failed is named there, and not tried.\n\n"
        "The exit status is 0 when `strata run` can work, else 1.",
    .options = kDoctorOptions,
    .run = Doctor,
};

}  // namespace strata
