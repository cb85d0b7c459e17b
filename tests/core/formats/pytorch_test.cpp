#include "backplane/formats/pytorch.h"

#include <catch2/catch.hpp>

#include "core/formats/pickles.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

PytorchFile parse(const std::string& file) { return parse_pytorch(as_bytes(file), "f"); }

const std::string kFloats = little(std::vector<float>{1, 2, 3, 4, 5, 6});
const std::string kStorage = pickle::storage("FloatStorage", "0", 6);
const std::string kTensor = pickle::tensor(kStorage, 1, {2, 2}, {1, 2});
const std::string kOrdered = pickle::global("collections", "OrderedDict");

// The message for a file that is refused.
std::string reason(const std::string& file) {
  const auto [code, message] = error_of([&] { parse(file); });
  INFO(message);
  CHECK((code == ErrorCode::bad_checkpoint || code == ErrorCode::limit_exceeded));
  CHECK(message.find("'f'") != std::string::npos);
  return message;
}

std::string reason_for_pickle(const std::string& pickle) { return reason(pickle::archive(pickle, {kFloats})); }
std::string reason_for_value(const std::string& value) { return reason_for_pickle(pickle::dictionary({{"t", value}})); }

}  // namespace

TEST_CASE("a PyTorch archive gives names, shapes, strides and places") {
  const auto pickle = pickle::dictionary({{"epoch", pickle::integer(3)}, {"b", kTensor}, {"a", kTensor}});
  for (bool compressed : {false, true}) {
    const std::string file = pickle::archive(pickle, {kFloats}, compressed);
    const auto parsed = parse(file);
    REQUIRE(parsed.tensors.size() == 2);
    CHECK(parsed.tensors[0].name == "b");
    CHECK(parsed.tensors[1].name == "a");
    CHECK(parsed.tensors[0].shape == std::vector<int64_t>{2, 2});
    CHECK(parsed.tensors[0].strides == std::vector<int64_t>{1, 2});
    CHECK(parsed.tensors[0].offset == 1);
    CHECK(parsed.tensors[0].dtype == DType::f32);
    REQUIRE(parsed.storages.size() == 1);
    const auto& storage = parsed.storages[0];
    CHECK(storage.bytes == 24);
    CHECK(storage.compressed == compressed);
    if (compressed) {
      std::string out(24, '\0');
      inflate_storage(storage, as_bytes(file), std::as_writable_bytes(std::span(out)), "f");
      CHECK(out == kFloats);
    } else {
      CHECK(storage.begin % 64 == 0);
      CHECK(file.substr(storage.begin, 24) == kFloats);
    }
  }
}

TEST_CASE("state dictionaries come in several spellings") {
  const std::string entry = pickle::text("t") + kTensor;
  const std::string attributes = "}" + pickle::text("_metadata") + kOrdered + ")Rs";
  const std::string parameter =
      pickle::global("torch._utils", "_rebuild_parameter") + kTensor + "\x88" + kOrdered + ")R\x87R";
  const std::string frame = "\x95" + std::string(8, '\0');
  const std::string zero(1, '\0');
  const std::string pickles[] = {
      "\x80\x02}(" + pickle::text("set") + pickle::global("__builtin__", "set") + "](" + pickle::integer(1) + "e\x85R" +
          entry + "u.",
      "\x80\x02" + kOrdered + ")R(" + entry + "u" + attributes + "b.",  // with attributes
      "\x80\x02" + kOrdered + ")\x81" + entry + "s.",                   // by NEWOBJ
      "\x80\x02" + kOrdered + "](](" + entry + "ee\x85R.",              // from a list of pairs
      "\x80\x02(" + entry + "d.",                                       // by DICT
      "\x80\x04" + frame + "}\x94" + entry + "s.",                      // protocol 4
      "\x80\x02}q" + zero + "0h" + zero + entry + "s.",                 // through the memo
      "\x80\x02}" + pickle::text("t") + parameter + "s.",               // a parameter
      "\x80\x02}(" + pickle::text("t") + "N" + entry + "u.",            // a key twice: the last counts
  };
  for (const auto& pickle : pickles) {
    INFO(pickle);
    const auto parsed = parse(pickle::archive(pickle, {kFloats}));
    REQUIRE(parsed.tensors.size() == 1);
    CHECK(parsed.tensors[0].name == "t");
    CHECK(parsed.tensors[0].offset == 1);
  }
}

TEST_CASE("the format before PyTorch 1.6 is read") {
  const auto two =
      pickle::dictionary({{"a", kTensor}, {"b", pickle::tensor(pickle::storage("LongStorage", "7", 2), 0, {2}, {1})}});
  const std::string longs = little(std::vector<int64_t>{-1, 5});
  const std::string file = pickle::legacy(two, {{"0", kFloats}, {"7", longs}}, 4);
  CHECK(reason(file).find("4 elements in the storage '7'; its tensors claim 2") != std::string::npos);
  const std::string right = pickle::legacy(two, {{"0", kFloats}}, 4);
  CHECK(reason(right).find("lacks the storage '7'") != std::string::npos);
  const std::string one = pickle::legacy(pickle::dictionary({{"a", kTensor}}), {{"0", kFloats}}, 4);
  const auto parsed = parse(one);
  CHECK(one.substr(parsed.storages[0].begin) == kFloats);
  for (size_t size = 0; size < one.size(); ++size) {
    INFO(size);
    CHECK_FALSE(reason(one.substr(0, size)).empty());
  }
}

TEST_CASE("a pickle can build tensors and nothing else") {
  const auto says = [](const std::string& message, const std::string& expected) {
    INFO(message);
    CHECK(message.find(expected) != std::string::npos);
  };
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"os", "system"},
                                                        {"posix", "system"},
                                                        {"builtins", "eval"},
                                                        {"torch", "load"},
                                                        {"torch._utils", "_rebuild_qtensor"},
                                                        {"collections", "Counter"},
                                                        {"torch.nn.modules.linear", "Linear"},
                                                        {"numpy.core.multiarray", "_reconstruct"}}) {
    says(reason_for_value(pickle::global(module, name) + "(" + pickle::text("echo") + "tR"),
         concat("names ", module, ".", name, ", which is none of the types"));
    says(reason_for_value(pickle::text(module) + pickle::text(name) + "\x93)R"), "it was not called");
  }
  says(reason_for_value(std::string("i") + "os\nsystem\n"), "has the opcode 105");  // INST
  says(reason_for_value("P1\n"), "has the opcode 80");                              // PERSID
  says(reason_for_value("\x82\x01"), "has the opcode 130");                         // EXT1
  says(reason_for_value(kTensor + "}b"), "has no dictionary");                      // BUILD of a tensor
  says(reason_for_value(kStorage + ")R"), "no name of a type");                     // a call of no callable
  says(reason_for_value(pickle::global("torch", "FloatStorage") + ")R"), "not for calling");
  says(reason_for_value(pickle::global("torch", "float32") + ")R"), "no name of a type");
}

TEST_CASE("malformed pickles are refused") {
  const auto says = [](const std::string& message, const std::string& expected) {
    INFO(message);
    CHECK(message.find(expected) != std::string::npos);
  };
  says(reason_for_pickle(""), "truncated");
  says(reason_for_pickle("\x80\x02}"), "truncated");
  says(reason_for_pickle("\x80\x02."), "empty stack");
  says(reason_for_pickle("\x80\x01}."), "protocol 1");
  says(reason_for_pickle("\x80\x02}}."), "more than one object");
  says(reason_for_pickle("\x80\x02)."), "no dictionary of tensors");
  says(reason_for_pickle("\x80\x02}."), "no tensor in its dictionary");
  says(reason_for_pickle("\x80\x02}u."), "no mark");
  says(reason_for_pickle("\x80\x02}(Nu."), "a key without a value");
  says(reason_for_pickle("\x80\x02h\x05."), "recalls 5");
  says(reason_for_pickle("\x80\x02}r\xff\xff\xff\x7f."), "memoizes at 2147483647");
  says(reason_for_pickle("\x80\x02X\xff\xff\xff\xff"), "truncated");
  says(reason_for_pickle("\x80\x02\x8d" + std::string(8, '\xff')), "truncated");
  says(reason_for_pickle("\x80\x02\x8a\x09" + std::string(9, '\x01')), "more than 64 bits");
  says(reason_for_pickle("\x80\x02}" + pickle::integer(1) + kTensor + "s."), "whose name is no text");
  says(reason_for_pickle("\x80\x02}" + pickle::text("\xff") + kTensor + "s."), "whose name is no text");
  // A million marks and a tuple of tuples a million deep: no recursion.
  says(reason_for_pickle("\x80\x02" + std::string(1'000'000, '(')), "truncated");
  says(reason_for_pickle("\x80\x02N" + std::string(1'000'000, '\x85') + "."), "no dictionary of tensors");
}

TEST_CASE("tensors stay within their storages") {
  const auto tensor = [](int32_t offset, const std::vector<int32_t>& shape, const std::vector<int32_t>& strides) {
    return reason_for_value(pickle::tensor(kStorage, offset, shape, strides));
  };
  CHECK(parse(pickle::archive(pickle::dictionary({{"t", pickle::tensor(kStorage, 0, {3, 2}, {2, 1})},
                                                  {"e", pickle::tensor(kStorage, 6, {0, 9}, {9, 1})}}),
                              {kFloats}))
            .tensors.size() == 2);
  for (const auto& message :
       {tensor(0, {7}, {1}), tensor(1, {3, 2}, {2, 1}), tensor(0, {2, 2}, {5, 1}), tensor(-1, {2}, {1}),
        tensor(7, {0}, {1}), tensor(0, {0x7fffffff, 0x7fffffff, 0x7fffffff}, {0x7fffffff, 0x7fffffff, 0x7fffffff}),
        tensor(0, {0x7fffffff, 0x7fffffff, 0x7fffffff}, {0, 0, 0})}) {
    INFO(message);
    CHECK(message.find("reaches past its storage '0' of 6 elements") != std::string::npos);
  }
  CHECK(tensor(0, {-2}, {1}).find("size -2") != std::string::npos);
  CHECK(tensor(0, {2}, {-1}).find("stride -1") != std::string::npos);
  CHECK(tensor(0, {2, 2}, {1}).find("other strides than sizes") != std::string::npos);
  CHECK(tensor(0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}).find("9 dimensions") != std::string::npos);
}

TEST_CASE("storages that are missing, or of another size than claimed, are refused") {
  const auto says = [](const std::string& file, const std::string& expected) {
    const auto message = reason(file);
    INFO(message);
    CHECK(message.find(expected) != std::string::npos);
  };
  const auto pickle = pickle::dictionary({{"t", kTensor}});
  says(pickle::archive(pickle, {}), "lacks the storage '0'");
  says(pickle::archive(pickle, {kFloats.substr(4)}), "has 20 bytes in the storage '0'; its tensors claim 24");
  says(pickle::archive(pickle, {kFloats + "x"}), "has 25 bytes");
  const auto with_count = [](int32_t count) {
    return pickle::dictionary({{"t", pickle::tensor(pickle::storage("FloatStorage", "0", count), 0, {1}, {1})}});
  };
  says(pickle::archive(with_count(-1), {kFloats}), "claims -1 elements");
  says(pickle::archive(with_count(0x7fffffff), {kFloats}), "its tensors claim 8589934588");
  says(pickle::archive(pickle::dictionary({{"t", kTensor},
                                           {"u", pickle::tensor(pickle::storage("HalfStorage", "0", 6), 0, {1}, {1})}}),
                       {kFloats}),
       "two sizes of the storage '0': 24 and 12");
  says(pickle::zip({{"m/data.pkl", pickle}, {"m/data/0", kFloats}, {"m/data/0", kFloats}}), "two records 'm/data/0'");
  says(pickle::zip({{"m/data.pkl", pickle}, {"n/data.pkl", pickle}}), "two pickles");
  says(pickle::zip({{"m/other", pickle}}), "without data.pkl");
  says(pickle::zip({{"m/data.pkl", pickle}, {"m/byteorder", "big"}, {"m/data/0", kFloats}}), "big-endian");
  // 200 MB of zeros in 200 kB
  says(pickle::zip({{"m/data.pkl", pickle}, {"m/data/0", std::string(2'000'000, '\0'), true}}), "more than 100 times");
}

TEST_CASE("damaged archives are refused") {
  const std::string file = pickle::archive(pickle::dictionary({{"t", kTensor}}), {kFloats});
  for (size_t size = 0; size < file.size(); ++size) {
    INFO(size);
    CHECK_FALSE(reason(file.substr(0, size)).empty());
  }
  CHECK(reason("version https://git-lfs.github.com/spec/v1\noid").find("git-lfs pointer") != std::string::npos);
  CHECK(reason(std::string("\x89HDF\r\n\x1a\n", 8)).find("from_tf=True") != std::string::npos);

  std::string compressed = pickle::archive(pickle::dictionary({{"t", kTensor}}), {kFloats}, true);
  const auto storage = parse(compressed).storages[0];
  std::string out(24, '\0');
  const auto inflate = [&] {
    inflate_storage(storage, as_bytes(compressed), std::as_writable_bytes(std::span(out)), "f");
  };
  CHECK(error_of(inflate).second.empty());
  int refused = 0;
  for (uint64_t at = storage.begin; at < storage.end; ++at) {
    compressed[at] = static_cast<char>(compressed[at] ^ 0x10);
    const auto [code, message] = error_of(inflate);
    refused += code == ErrorCode::bad_checkpoint;
    CHECK((code == ErrorCode::bad_checkpoint || out == kFloats));
    compressed[at] = static_cast<char>(compressed[at] ^ 0x10);
  }
  CHECK(refused > 0);
}
