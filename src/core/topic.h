#pragma once

#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>

/// The topic grammar of contract/envelope.md. Topics are never validated before publishing: any
/// non-empty string is one. These helpers parse, build and rewrite those that follow the grammar.
///
///     act.exchange.<venue>.<entity>.<event>[.<id>]              real market data
///     hyp.<selector>.exchange.<venue>.<entity>.<event>[.<id>]   hypothetical market data
///     sc.<scenarioId>.<domain>.<entity>.<event>[.<id>]          a scenario
///     <service>.<category>, <service>.infra.<sub>               infrastructure
///     <topic>-dead                                              dead letters of <topic>
namespace virtufin::topic {

inline constexpr std::string_view kDeadSuffix = "-dead";

enum class Root { kActual, kHypothetical, kScenario, kOther };

/// A topic's parts; views into the text that was parsed.
struct Parts {
  Root root = Root::kOther;
  std::string_view selector;  ///< of kHypothetical
  std::string_view scenario;  ///< of kScenario
  std::string_view tail;      ///< what follows the address: `exchange.binance.trade.tape`, `orders`
  bool dead = false;          ///< ended in `-dead`; the tail is without it
};
Parts parse(std::string_view topic);

/// 1 to 32 characters of [A-Za-z0-9_-]: what a selector and a scenario id may be.
bool valid_id(std::string_view id);

/// `act.<tail>`, or `hyp.<selector>.<tail>` if a selector is given.
std::string market(std::string_view selector, std::string_view tail);
/// `sc.<scenario>.<tail>`.
std::string scenario(std::string_view scenario, std::string_view tail);
std::string dead(std::string_view topic);
bool is_dead(std::string_view topic);

/// The same topic at another address: `act.*` or `hyp.*` to the given selector (empty: `act`),
/// `sc.<x>.*` to the given scenario (empty: its own). What is neither stays as it is.
std::string rewrite(std::string_view topic, std::string_view selector, std::string_view scenario);

/// A subscription pattern: a topic, or a prefix that ends in `.*`. INVALID_ARGUMENT for a `*`
/// elsewhere or alone, and for an empty one.
absl::Status check_pattern(std::string_view pattern);
/// `a.*` matches the topics that begin with `a.`, never one that ends in `-dead`.
bool matches(std::string_view pattern, std::string_view topic);

}  // namespace virtufin::topic
