#pragma once

#include <backplane/model.h>

#include <algorithm>
#include <cctype>

namespace backplane::deberta_v2 {

struct DebertaV2Config : PretrainedConfig {
  static constexpr const char* model_type = "deberta-v2";

  int64_t vocab_size = 128100;
  int64_t hidden_size = 1536;
  int64_t num_hidden_layers = 24;
  int64_t num_attention_heads = 24;
  int64_t intermediate_size = 6144;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 0;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-7;
  bool relative_attention = false;
  int64_t max_relative_positions = -1;  // below 1: max_position_embeddings
  bool position_biased_input = true;
  Value pos_att_type;  // a list of c2p and p2c, or both in a text: "c2p|p2c"
  double pooler_dropout = 0;
  std::string pooler_hidden_act = "gelu";
  std::optional<int64_t> pooler_hidden_size;  // null: hidden_size
  bool legacy = true;
  int64_t position_buckets = -1;  // above 0: far positions share logarithmic buckets
  bool share_att_key = false;
  std::string norm_rel_ebd = "none";  // or layer_norm
  std::optional<int64_t> attention_head_size;
  std::optional<int64_t> embedding_size;
  int64_t conv_kernel_size = 0;
  int64_t conv_groups = 1;
  std::string conv_act = "tanh";
  std::optional<double> cls_dropout;

  DebertaV2Config() { pad_token_id = 0; }

  bool scores_positions_by(std::string_view kind) const {
    if (!pos_att_type.is_list()) return false;
    const auto& kinds = pos_att_type.as_list();
    return std::find(kinds.begin(), kinds.end(), Value(std::string(kind))) != kinds.end();
  }
  int64_t head_size() const { return attention_head_size.value_or(hidden_size / num_attention_heads); }
  int64_t word_size() const { return embedding_size.value_or(hidden_size); }
  int64_t max_distance() const { return max_relative_positions < 1 ? max_position_embeddings : max_relative_positions; }
  /// Distances (or buckets of them) in one direction.
  int64_t span() const { return position_buckets > 0 ? position_buckets : max_distance(); }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(relative_attention));
    field(BACKPLANE_FIELD(max_relative_positions));
    field(BACKPLANE_FIELD(position_biased_input));
    field(BACKPLANE_FIELD(pos_att_type));
    field(BACKPLANE_FIELD(pooler_dropout));
    field(BACKPLANE_FIELD(pooler_hidden_act));
    field(BACKPLANE_FIELD(pooler_hidden_size));
    field(BACKPLANE_FIELD(legacy));
    field(BACKPLANE_FIELD(position_buckets));
    field(BACKPLANE_FIELD(share_att_key));
    field(BACKPLANE_FIELD(norm_rel_ebd));
    field(BACKPLANE_FIELD(attention_head_size));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(conv_kernel_size));
    field(BACKPLANE_FIELD(conv_groups));
    field(BACKPLANE_FIELD(conv_act));
    field(BACKPLANE_FIELD(cls_dropout));
  }

  void validate() override {
    if (pos_att_type.is_string()) pos_att_type = parts_of(pos_att_type.as_string());
    if (!pooler_hidden_size) pooler_hidden_size = hidden_size;
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not a multiple of num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (relative_attention && (span() < 1 || span() > kMaxSpan)) {
      throw Error(ErrorCode::bad_config, concat("relative_attention over ", span(),
                                                " positions: give max_relative_positions or position_buckets "
                                                "between 1 and ",
                                                kMaxSpan));
    }
    if (conv_kernel_size > 0 && (conv_kernel_size % 2 == 0 || conv_groups < 1)) {
      throw Error(ErrorCode::bad_config, concat("conv_kernel_size (", conv_kernel_size, ") is even or conv_groups (",
                                                conv_groups, ") is below 1"));
    }
  }

  /// "c2p|p2c" -> ["c2p", "p2c"], in lower case.
  static Value parts_of(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    Value::List parts;
    for (const auto& part : split(text, '|')) parts.emplace_back(std::string(trim(part)));
    return parts;
  }

 private:
  static constexpr int64_t kMaxSpan = int64_t{1} << 24;
};

}  // namespace backplane::deberta_v2
