// URLs and the guard against reaching into our own network.
#include <catch2/catch.hpp>

#include "core/errors.h"
#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/url.h"

namespace virtufin::wsm::test {
namespace {

namespace ip = boost::asio::ip;

TEST_CASE("a URL is taken apart") {
  const auto url = Url::parse("wss://stream.example.com:9443/stream?streams=a@depth/b@trade#x");
  REQUIRE(url.ok());
  CHECK(url->tls);
  CHECK(url->host == "stream.example.com");
  CHECK(url->port == 9443);
  CHECK(url->target == "/stream?streams=a@depth/b@trade");
  CHECK(url->query() == "streams=a@depth/b@trade");
  CHECK(url->authority() == "stream.example.com:9443");

  const auto plain = Url::parse("ws://[::1]");
  REQUIRE(plain.ok());
  CHECK(plain->host == "::1");
  CHECK(plain->port == 80);
  CHECK(plain->target == "/");
  CHECK(plain->authority() == "[::1]");
  CHECK(Url::parse("wss://h?x=1")->target == "/?x=1");
  CHECK(Url::parse("https://h:443/")->authority() == "h");
}

TEST_CASE("what is no URL of ours is refused, and credentials are not repeated") {
  for (const char* text :
       {"", "h", "ftp://h", "ws://", "ws:///x", "ws://h:0/", "ws://h:65536/", "ws://h:x/",
        "ws://h:/", "ws://[::1", "ws://[::1]x", "ws://h/a b", "ws://h/\n", "WS"}) {
    INFO(text);
    const auto url = Url::parse(text);
    REQUIRE_FALSE(url.ok());
    CHECK(url.status().code() == absl::StatusCode::kInvalidArgument);
  }
  const auto secret = Url::parse("wss://user:hunter2@h/");
  REQUIRE_FALSE(secret.ok());
  CHECK(message(secret.status()).find("hunter2") == std::string_view::npos);
  CHECK_FALSE(Url::parse("ws://" + std::string(20'000, 'a')).ok());
}

TEST_CASE("addresses that are not one host of the public internet are private") {
  for (const char* text : {"127.0.0.1",
                           "127.255.0.1",
                           "10.1.2.3",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.0.1",
                           "169.254.169.254",
                           "100.64.0.1",
                           "0.0.0.0",
                           "224.0.0.1",
                           "255.255.255.255",
                           "::1",
                           "::",
                           "fe80::1",
                           "fc00::1",
                           "fd00:ec2::254",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "64:ff9b::7f00:1",
                           "2002:7f00:1::",
                           "ff02::1"}) {
    INFO(text);
    CHECK(is_private(ip::make_address(text)));
  }
  for (const char* text : {"8.8.8.8", "172.32.0.1", "172.15.255.255", "100.128.0.1", "52.1.2.3",
                           "2606:4700::1111", "::ffff:8.8.8.8"}) {
    INFO(text);
    CHECK_FALSE(is_private(ip::make_address(text)));
  }
}

TEST_CASE("the allow-list lets listed hosts in, and no name that only resolves there") {
  const auto guard =
      AddressGuard::create({"localhost", "127.0.0.0/8", "10.1.2.3", "Venue.Internal"});
  REQUIRE(guard.ok());
  const auto loopback = ip::make_address("127.0.0.1");
  const auto inside = ip::make_address("10.1.2.3");
  CHECK(guard->check("localhost", loopback).ok());
  CHECK(guard->check("LOCALHOST", loopback).ok());
  CHECK(guard->check("127.0.0.1", loopback).ok());
  CHECK(guard->check("venue.internal", inside).ok());
  CHECK(guard->check("10.1.2.3", inside).ok());
  CHECK(guard->check("example.com", ip::make_address("8.8.8.8")).ok());
  for (const auto& [host, address] :
       {std::pair{"rebound.example.com", "127.0.0.1"}, std::pair{"10.1.2.4", "10.1.2.4"},
        std::pair{"metadata.google.internal", "169.254.169.254"}, std::pair{"::1", "::1"}}) {
    const absl::Status status = guard->check(host, ip::make_address(address));
    CHECK(status.code() == absl::StatusCode::kPermissionDenied);
    CHECK_THAT(std::string(message(status)), Catch::Contains("wsm.allow_private_hosts"));
  }
  CHECK_FALSE(AddressGuard::create({"127.0.0.1/33"}).ok());
  CHECK_FALSE(AddressGuard::create({"nohost/8"}).ok());
  CHECK_FALSE(AddressGuard::create({""}).ok());
}

}  // namespace
}  // namespace virtufin::wsm::test
