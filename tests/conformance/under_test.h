#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "bus/state_store.h"
#include "core/time.h"

/// What the conformance suite runs on. An implementation gives a factory; what it cannot do, it
/// says here, and the suite then expects the documented error instead.
namespace virtufin::testing {

class BusUnderTest {
 public:
  virtual ~BusUnderTest() = default;
  virtual bus::Bus& bus() = 0;
  /// How long a publish waits for a full `block` subscription.
  virtual std::chrono::milliseconds block() const = 0;
  /// What another app puts on the broker, a structured CloudEvent; false where there is no broker.
  virtual bool publish_from_outside(const std::string& topic, const std::string& json) {
    (void)topic, (void)json;
    return false;
  }
  /// Everything between us and the broker goes, and comes back.
  virtual void reconnect() {}

  bool wildcards = true;  ///< of the roots that have a component of their own; else UNIMPLEMENTED
  /// A publish waits for a full `block` subscription; else the broker does, without a limit.
  bool publisher_waits = true;
  bool any_topic = true;        ///< else INVALID_ARGUMENT for one that is no NATS subject
  bool bare_roots = true;       ///< a topic may be a root's first word alone, as `act`
  bool order_of_topics = true;  ///< events of different topics, too, come as they were published
  /// While an event of a `block` subscription is unanswered its root waits, for everybody.
  bool one_at_a_time = false;
  /// What was not answered before reconnect() comes again, late.
  bool comes_again = false;
  /// A subscription that is the first of its topic also gets what was published before.
  bool sees_earlier = false;
  /// Publishing ends in the handler's own queue at once; else the suite waits between publishing
  /// and looking.
  bool synchronous = true;
};

class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual bus::StateStore& store() = 0;
  /// Closes the store and opens the same one again.
  virtual void reopen() = 0;
  /// Lets so much time pass for what has a ttl.
  virtual void pass(std::chrono::seconds time) = 0;

  bool queries = true;     ///< else UNIMPLEMENTED
  bool durable = false;    ///< what was acknowledged is there after reopen()
  bool tells_etag = true;  ///< save() answers the new etag
  /// A key that was erased and made again may get an etag that it had before.
  bool etags_repeat = false;
  /// A ttl that the suite uses; where time really passes, a short one with some slack.
  std::chrono::seconds ttl{10};
};

struct BusKind {
  std::string name;
  std::function<std::unique_ptr<BusUnderTest>()> make;
};
struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<StoreUnderTest>()> make;
};

/// Every implementation that this build has.
const std::vector<BusKind>& buses();
const std::vector<StoreKind>& stores();

}  // namespace virtufin::testing
