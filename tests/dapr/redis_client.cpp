#include "dapr/redis_client.h"

#include <hiredis/hiredis.h>

#include <catch2/catch.hpp>
#include <memory>

namespace virtufin::testing {
namespace {

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

Reply ask(redisContext* context, const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const auto& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(context, static_cast<int>(words.size()), texts.data(), sizes.data())));
  REQUIRE(reply != nullptr);
  INFO((reply->str ? reply->str : ""));
  REQUIRE(reply->type != REDIS_REPLY_ERROR);
  return reply;
}

}  // namespace

RedisClient::RedisClient(std::uint16_t port) : context_(redisConnect("127.0.0.1", port)) {
  REQUIRE(context_ != nullptr);
  INFO(context_->errstr);
  REQUIRE(context_->err == 0);
}

RedisClient::~RedisClient() { redisFree(context_); }

void RedisClient::command(const std::vector<std::string>& words) { ask(context_, words); }

std::string RedisClient::text(const std::vector<std::string>& words) {
  const Reply reply = ask(context_, words);
  REQUIRE(reply->str != nullptr);
  return {reply->str, reply->len};
}

long long RedisClient::integer(const std::vector<std::string>& words) {
  const Reply reply = ask(context_, words);
  REQUIRE(reply->type == REDIS_REPLY_INTEGER);
  return reply->integer;
}

std::map<std::string, std::string> RedisClient::hash(const std::string& key) {
  const Reply reply = ask(context_, {"HGETALL", key});
  REQUIRE(reply->type == REDIS_REPLY_ARRAY);
  std::map<std::string, std::string> fields;
  for (std::size_t i = 0; i + 1 < reply->elements; i += 2) {
    const redisReply& name = *reply->element[i];
    const redisReply& value = *reply->element[i + 1];
    fields.emplace(std::string(name.str, name.len), std::string(value.str, value.len));
  }
  return fields;
}

}  // namespace virtufin::testing
