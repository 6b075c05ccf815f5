#include "core/topic.h"

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::topic {
namespace {

constexpr std::size_t kMaxIdLength = 32;

/// Cuts the text before the first dot off `rest`; false if there is no dot or nothing behind it.
bool take_segment(std::string_view& rest, std::string_view& segment) {
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos || dot + 1 == rest.size()) return false;
  segment = rest.substr(0, dot);
  rest.remove_prefix(dot + 1);
  return true;
}

bool is_prefix_pattern(std::string_view pattern) { return pattern.ends_with(".*"); }

}  // namespace

Parts parse(std::string_view topic) {
  Parts parts;
  parts.dead = is_dead(topic);
  if (parts.dead) topic.remove_suffix(kDeadSuffix.size());
  parts.tail = topic;

  std::string_view rest = topic, root, address;
  if (!take_segment(rest, root)) return parts;
  if (root == "act") {
    parts.root = Root::kActual;
    parts.tail = rest;
  } else if (root == "hyp" && take_segment(rest, address) && valid_id(address)) {
    parts.root = Root::kHypothetical;
    parts.selector = address;
    parts.tail = rest;
  } else if (root == "sc" && take_segment(rest, address) && valid_id(address)) {
    parts.root = Root::kScenario;
    parts.scenario = address;
    parts.tail = rest;
  }
  return parts;
}

bool valid_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdLength && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string market(std::string_view selector, std::string_view tail) {
  if (selector.empty()) return fmt::format("act.{}", tail);
  return fmt::format("hyp.{}.{}", selector, tail);
}

std::string scenario(std::string_view scenario, std::string_view tail) {
  return fmt::format("sc.{}.{}", scenario, tail);
}

std::string dead(std::string_view topic) { return fmt::format("{}{}", topic, kDeadSuffix); }

bool is_dead(std::string_view topic) {
  return topic.size() > kDeadSuffix.size() && topic.ends_with(kDeadSuffix);
}

std::string rewrite(std::string_view topic, std::string_view selector, std::string_view scenario) {
  const Parts parts = parse(topic);
  std::string moved;
  switch (parts.root) {
    case Root::kActual:
    case Root::kHypothetical: moved = market(selector, parts.tail); break;
    case Root::kScenario:
      moved = topic::scenario(scenario.empty() ? parts.scenario : scenario, parts.tail);
      break;
    case Root::kOther: return std::string(topic);
  }
  return parts.dead ? dead(moved) : moved;
}

absl::Status check_pattern(std::string_view pattern) {
  if (pattern.empty())
    return invalid_argument("the topic is empty; give a topic, or a prefix and .*");
  std::string_view literal = pattern;
  if (is_prefix_pattern(pattern)) literal.remove_suffix(2);
  if (literal.empty() || literal.find('*') != std::string_view::npos) {
    return invalid_argument(
        "topic pattern '{}': a * may only end it, after a prefix and a dot, as in act.*",
        printable(pattern));
  }
  return absl::OkStatus();
}

bool matches(std::string_view pattern, std::string_view topic) {
  if (!is_prefix_pattern(pattern)) return pattern == topic;
  return topic.starts_with(pattern.substr(0, pattern.size() - 1)) && !is_dead(topic);
}

}  // namespace virtufin::topic
