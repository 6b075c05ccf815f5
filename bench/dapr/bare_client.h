#pragma once

#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>
#include <vector>

namespace virtufin::bench {

/// What the same calls to a sidecar cost without the adapter: generated messages, one completion
/// queue, one call out at a time. Every failure throws std::runtime_error.
///
/// Threads: one.
class BareClient {
 public:
  explicit BareClient(const std::string& endpoint);
  ~BareClient();

  void publish(const std::string& component, const std::string& topic, const std::string& event);
  void publish_bulk(const std::string& component, const std::string& topic,
                    const std::vector<std::string>& events);
  void save(const std::string& store, const std::string& key, const std::string& value);
  std::string get(const std::string& store, const std::string& key);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A bare subscription: answers SUCCESS to everything and tells of it.
///
/// Threads: `on_event` runs on its own thread; the destructor cancels and joins.
class BareSubscription {
 public:
  /// Stands when constructed.
  BareSubscription(const std::string& endpoint, const std::string& component,
                   const std::string& topic, absl::AnyInvocable<void()> on_event);
  ~BareSubscription();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace virtufin::bench
