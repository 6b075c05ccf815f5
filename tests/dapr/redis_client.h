#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct redisContext;

namespace virtufin::testing {

/// Looks into a Redis past the sidecar. Every failure fails the test.
///
/// Threads: one.
class RedisClient {
 public:
  explicit RedisClient(std::uint16_t port);
  ~RedisClient();
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  void command(const std::vector<std::string>& words);
  std::string text(const std::vector<std::string>& words);
  long long integer(const std::vector<std::string>& words);
  /// Of a hash; empty if there is none.
  std::map<std::string, std::string> hash(const std::string& key);

 private:
  redisContext* context_;
};

}  // namespace virtufin::testing
