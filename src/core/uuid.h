#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace virtufin {

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, lower case.
struct UuidText {
  std::array<char, 36> chars;
  std::string_view view() const { return {chars.data(), chars.size()}; }
};

/// A random UUID (version 4). Seeded from the system once a thread.
UuidText random_uuid();

/// Ids that follow from facts: a UUIDv8 of a 128-bit hash, so that the same fact has the same id on
/// every connection, in every process and in every replay. The hash is fixed for ever; it is no
/// protection against somebody who wants two facts to collide.
class UuidHasher {
 public:
  /// The first of some lists' parts, which are then taken in once: {"ab"}.with("c") is {"ab","c"}.
  class Prefix {
   public:
    explicit Prefix(std::initializer_list<std::string_view> parts);
    UuidHasher with(std::string_view last) const;

   private:
    std::uint64_t high_, low_, count_;
  };

  /// `parts` are told apart by their lengths: {"ab","c"} is not {"a","bc"}.
  explicit UuidHasher(std::initializer_list<std::string_view> parts);
  /// The id of one more number under the parts (a venue's sequence, an output's index).
  UuidText operator()(std::uint64_t number) const;

 private:
  UuidHasher(std::uint64_t high, std::uint64_t low) : high_(high), low_(low) {}
  std::uint64_t high_, low_;
};

}  // namespace virtufin
