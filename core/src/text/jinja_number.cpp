#include <charconv>
#include <cmath>

#include "backplane/base/strings.h"
#include "text/jinja_value.h"

namespace backplane::jinja {
namespace {

constexpr unsigned kBits = 1u << 16;  // of the largest integer that is computed
constexpr size_t kDigits = 4300;      // Python's own cap between integers and text

unsigned bits(const BigInt& value) {
  return value == 0 ? 0 : static_cast<unsigned>(boost::multiprecision::msb(boost::multiprecision::abs(value))) + 1;
}

void check_bits(uint64_t count) {
  if (count > kBits) limit_error(concat("an integer of more than ", kBits, " bits"));
  charge(count / 512);
}

// Division that rounds down, with a remainder of the divisor's sign.
std::pair<BigInt, BigInt> divmod(const BigInt& a, const BigInt& b) {
  BigInt quotient = a / b, remainder = a % b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    --quotient;
    remainder += b;
  }
  return {std::move(quotient), std::move(remainder)};
}

[[noreturn]] void no_operation(char op, const Value& a, const Value& b) {
  const char* symbol = op == 'f' ? "//" : op == 'p' ? "** or pow()" : nullptr;
  type_error(concat("unsupported operand type(s) for ", symbol ? symbol : std::string(1, op), ": '", type_name(a),
                    "' and '", type_name(b), "'"));
}

double python_mod(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

Value real_operation(char op, double a, double b) {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      if (b == 0) fail("ZeroDivisionError", "float division by zero");
      return a / b;
    case 'f': {
      if (b == 0) fail("ZeroDivisionError", "float floor division by zero");
      const double rest = python_mod(a, b);
      const double quotient = (a - rest) / b;
      if (quotient == 0) return std::copysign(0.0, a / b);
      const double floor = std::floor(quotient);
      return quotient - floor > 0.5 ? floor + 1 : floor;
    }
    case '%':
      if (b == 0) fail("ZeroDivisionError", "float modulo");
      return python_mod(a, b);
    default:
      if (a == 0 && b < 0) fail("ZeroDivisionError", "0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b))
        type_error("complex numbers are not supported");
      const double power = std::pow(a, b);
      if (std::isinf(power) && std::isfinite(a) && std::isfinite(b))
        fail("OverflowError", "(34, 'Numerical result out of range')");
      return power;
  }
}

}  // namespace

BigInt big(const Value& integer) {
  return integer.is(Kind::big) ? integer.as<BigObject>().value : BigInt(integer.small());
}

double to_real(const Value& number) {
  if (number.is(Kind::real)) return number.real();
  if (!number.is(Kind::big)) return static_cast<double>(number.small());
  const BigInt& value = number.as<BigObject>().value;
  if (bits(value) > 1024) fail("OverflowError", "int too large to convert to float");
  // Through text: strtod rounds to nearest, as Python does.
  const double real = std::strtod(value.str().c_str(), nullptr);
  if (std::isinf(real)) fail("OverflowError", "int too large to convert to float");
  return real;
}

std::string int_text(const Value& integer) {
  if (!integer.is(Kind::big)) return std::to_string(integer.small());
  const BigInt& value = integer.as<BigObject>().value;
  if (bits(value) > kDigits * 4) value_error("Exceeds the limit (4300 digits) for integer string conversion");
  std::string text = value.str();
  if (text.size() - (text[0] == '-') > kDigits)
    value_error("Exceeds the limit (4300 digits) for integer string conversion");
  return text;
}

Value arithmetic(char op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (!a.is_number() || !b.is_number()) no_operation(op, a, b);
  if (a.is(Kind::real) || b.is(Kind::real)) return real_operation(op, to_real(a), to_real(b));
  if (!a.is(Kind::big) && !b.is(Kind::big)) {
    const int64_t x = a.small(), y = b.small();
    int64_t result;
    if (op == '+' && !__builtin_add_overflow(x, y, &result)) return result;
    if (op == '-' && !__builtin_sub_overflow(x, y, &result)) return result;
    if (op == '*' && !__builtin_mul_overflow(x, y, &result)) return result;
  }
  const BigInt x = big(a), y = big(b);
  switch (op) {
    case '+':
    case '-':
      check_bits(std::max(bits(x), bits(y)) + 1ull);
      return Value::integer(op == '+' ? BigInt(x + y) : BigInt(x - y));
    case '*':
      check_bits(static_cast<uint64_t>(bits(x)) + bits(y));
      return Value::integer(x * y);
    case '/':
      if (y == 0) fail("ZeroDivisionError", "division by zero");
      return to_real(a) / to_real(b);
    case 'f':
    case '%': {
      if (y == 0)
        fail("ZeroDivisionError", op == 'f' ? "integer division or modulo by zero" : "integer modulo by zero");
      auto [quotient, remainder] = divmod(x, y);
      return Value::integer(op == 'f' ? std::move(quotient) : std::move(remainder));
    }
    default: {
      if (y < 0) return real_operation('p', to_real(a), to_real(b));
      if (y == 0) return 1;
      if (x == 0 || x == 1) return Value::integer(x);
      if (x == -1) return y % 2 == 0 ? 1 : -1;
      if (y > kBits) limit_error(concat("an integer of more than ", kBits, " bits"));
      check_bits(static_cast<uint64_t>(bits(x)) * static_cast<uint64_t>(y));
      return Value::integer(BigInt(boost::multiprecision::pow(x, static_cast<unsigned>(y))));
    }
  }
}

Value negate(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::real)) return -value.real();
  if (!value.is_int()) type_error(concat("bad operand type for unary -: '", type_name(value), "'"));
  return Value::integer(-big(value));
}

std::optional<int> compare_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) {
    if (a.is(Kind::real) && b.is(Kind::real)) {
      if (std::isnan(a.real()) || std::isnan(b.real())) return std::nullopt;
      return a.real() < b.real() ? -1 : a.real() > b.real();
    }
    // Exactly, as Python does: 2**53 + 1 is not equal to float(2**53).
    const bool left = a.is(Kind::real);
    const double real = left ? a.real() : b.real();
    if (std::isnan(real)) return std::nullopt;
    int sign;
    if (std::isinf(real)) {
      sign = real > 0 ? 1 : -1;
    } else {
      const BigInt whole(std::floor(real));
      const BigInt integer = big(left ? b : a);
      sign = whole < integer ? -1 : whole > integer ? 1 : real > std::floor(real);
    }
    return left ? sign : -sign;
  }
  if (!a.is(Kind::big) && !b.is(Kind::big)) return a.small() < b.small() ? -1 : a.small() > b.small();
  return big(a).compare(big(b)) < 0 ? -1 : big(a).compare(big(b)) > 0;
}

namespace {
std::string_view trimmed(std::string_view text) {
  while (!text.empty()) {
    size_t at = 0;
    if (!utf8::is_space(utf8::decode(text, at))) break;
    text.remove_prefix(at);
  }
  while (!text.empty()) {
    size_t at = utf8::previous(text, text.size());
    const size_t start = at;
    if (!utf8::is_space(utf8::decode(text, at))) break;
    text = text.substr(0, start);
  }
  return text;
}

// Single underscores between digits go; anything else wrong gives false.
bool drop_underscores(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto alnum = [](char c) { return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'); };
    if (i == 0 || i + 1 == text.size() || !alnum(text[i - 1]) || !alnum(text[i + 1])) return false;
  }
  return true;
}
}  // namespace

std::optional<Value> parse_int(std::string_view text, int base) {
  if (base != 0 && (base < 2 || base > 36)) value_error("int() base must be >= 2 and <= 36, or 0");
  text = trimmed(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 32);
    const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named && (base == 0 || base == named)) {
      base = named;
      text.remove_prefix(2);
      if (text.starts_with('_')) text.remove_prefix(1);
    }
  }
  const bool literal = base == 0;
  if (literal) base = 10;
  std::string digits;
  if (text.empty() || !drop_underscores(text, digits)) return std::nullopt;
  if (digits.size() > kDigits && (base & (base - 1)))
    value_error("Exceeds the limit (4300 digits) for integer string conversion");
  check_bits(digits.size() * 6);
  BigInt value = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
    if (digit >= base) return std::nullopt;
    value = value * base + digit;
  }
  if (literal && digits[0] == '0' && value != 0) return std::nullopt;
  return Value::integer(negative ? BigInt(-value) : value);
}

std::optional<double> parse_real(std::string_view text) {
  text = trimmed(text);
  std::string clean;
  if (text.empty() || !drop_underscores(text, clean)) return std::nullopt;
  std::string_view body = clean;
  bool negative = false;
  if (body[0] == '+' || body[0] == '-') {
    negative = body[0] == '-';
    body.remove_prefix(1);
  }
  std::string lowered(body);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 32);
  }
  double value;
  if (lowered == "inf" || lowered == "infinity") {
    value = HUGE_VAL;
  } else if (lowered == "nan") {
    value = std::nan("");
  } else {
    if (lowered.empty() || !((lowered[0] >= '0' && lowered[0] <= '9') || lowered[0] == '.')) return std::nullopt;
    const char* end = lowered.data() + lowered.size();
    const auto [stop, error] = std::from_chars(lowered.data(), end, value);
    if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
    if (error == std::errc::result_out_of_range) value = std::strtod(lowered.c_str(), nullptr);
  }
  return negative ? -value : value;
}

Value floor_to_int(double value, const char* what) {
  if (std::isnan(value)) value_error(concat("cannot convert ", what, " NaN to integer"));
  if (std::isinf(value)) fail("OverflowError", concat("cannot convert ", what, " infinity to integer"));
  return Value::integer(BigInt(std::floor(value)));
}

std::string fixed(double value, int digits, char type) {
  const char format[] = {'%', '.', '*', type, 0};
  const int size = std::snprintf(nullptr, 0, format, digits, value);
  std::string text(static_cast<size_t>(size), '\0');
  std::snprintf(text.data(), text.size() + 1, format, digits, value);
  return text;
}

double round_half_even(double value, int digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) return std::strtod(fixed(value, digits, 'f').c_str(), nullptr);
  // Negative digits: on the exact decimal expansion of an integer-sized value.
  const double power = std::pow(10.0, -digits);
  const double scaled = value / power;
  double rounded = std::nearbyint(scaled);
  if (std::abs(scaled - std::trunc(scaled)) == 0.5) rounded = 2.0 * std::round(scaled / 2.0);
  return rounded * power;
}

}  // namespace backplane::jinja
