#include "tensor/inspect_load.h"

#include "backplane/config/config_json.h"
#include "backplane/config/generation_config_json.h"
#include "backplane/formats/dtype.h"
#include "backplane/host/auto_model.h"

namespace backplane::cli {
namespace {

Value::List texts(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace

void load_for_inspect(const InspectRequest& request, Value::Object& result) {
  LoadingInfo info;
  const auto model = model_from_pretrained(AutoClass{*request.auto_name}, request.model, request.options, &info);
  set(result, "loading",
      Value::Object{{"missing_keys", texts(info.missing_keys)},
                    {"unexpected_keys", texts(info.unexpected_keys)},
                    {"mismatched_keys", texts(info.mismatched_keys)}});
  set(result, "dtype", std::string(torch_dtype_name(dtype_of(model->dtype()))));
  set(result, "attn_implementation",
      model->config().attn_implementation == AttnImplementation::eager ? "eager" : "sdpa");
  set(result, "generation_config",
      model->generation_config ? to_value(write_generation_config(*model->generation_config)) : Value());
  Json config = write_config(model->config());
  config.erase("_name_or_path");
  set(result, "config", to_value(config));
}

}  // namespace backplane::cli
