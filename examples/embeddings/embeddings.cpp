// embeddings MODEL TEXT TEXT…: how alike the first text and each of the others are.
#include <backplane/backplane.h>

#include <exception>
#include <iostream>

namespace bp = backplane;

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::cerr << "usage: embeddings MODEL TEXT TEXT...\n";
    return 2;
  }
  const std::vector<std::string> texts(argv + 2, argv + argc);

  auto tokenizer = bp::AutoTokenizer::from_pretrained(argv[1]);
  auto model = bp::AutoModel::from_pretrained(argv[1]);

  // The model itself: texts in one batch, one state a token.
  auto batch = tokenizer->encode_batch(texts, {.padding = bp::Padding::longest});
  auto output = model->forward(batch.tensors());
  std::cout << "last_hidden_state " << output["last_hidden_state"].sizes() << "\n";

  // The same with pooling, batching and sorting by length.
  const bp::Tensor vectors = bp::embed_texts(*model, *tokenizer, texts, {.normalize = true});
  for (int64_t i = 1; i < vectors.size(0); ++i) {
    std::cout << (vectors[0] * vectors[i]).sum().item<float>() << "  " << texts[i] << "\n";
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
