#include "program.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/headeronly/version.h>

#include <sstream>
#include <stdexcept>

namespace halocline {

namespace {

using Metadata = std::unordered_map<std::string, std::string>;

const std::string& entry(const Metadata& metadata, const std::string& name, const std::string& path) {
  const auto found = metadata.find("halocline.program." + name);
  if (found == metadata.end())
    throw std::runtime_error(path + " is no program of Halocline; make one with: halocline export MODEL --backend "
                             "aot:kind=program");
  return found->second;
}

template <class T>
std::vector<T> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<T> found;
  for (T word; stream >> word;) found.push_back(word);
  return found;
}

at::Tensor vector(std::vector<int64_t>& values) { return at::from_blob(values.data(), {int64_t(values.size())}, at::kLong); }

}  // namespace

struct Program::Loaded {
  Facts facts;
  std::vector<std::string> inputs;
  at::ScalarType dtype = at::kDouble;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package;

  at::Tensor input(const std::string& name, Part& part) const;
};

Program::Program(const std::string& path, int threads) : loaded_(std::make_unique<Loaded>()) {
  at::set_num_threads(threads);
  Metadata metadata;
  try {
    metadata = torch::inductor::AOTIModelPackageLoader::load_metadata_from_package(path, "model");
  } catch (const std::exception& error) {
    throw std::runtime_error(path + " cannot be read as a package of PyTorch: " + error.what());
  }
  const std::string& made_with = entry(metadata, "torch", path);
  if (made_with != TORCH_VERSION)
    throw std::runtime_error(path + " was made with PyTorch " + made_with + ", and this pair style was built with " +
                             TORCH_VERSION + "; export the model again, or build the pair style again");
  Facts& facts = loaded_->facts;
  facts.cutoff = words<double>(entry(metadata, "cutoff", path)).at(0);
  facts.hops = words<int>(entry(metadata, "hops", path)).at(0);
  facts.elements = words<std::string>(entry(metadata, "species", path));
  facts.numbers = words<int64_t>(entry(metadata, "numbers", path));
  facts.references = words<double>(entry(metadata, "references", path));
  loaded_->inputs = words<std::string>(entry(metadata, "inputs", path));
  loaded_->dtype = entry(metadata, "precision", path) == "float64" ? at::kDouble : at::kFloat;
  try {
    loaded_->package = std::make_unique<torch::inductor::AOTIModelPackageLoader>(path);
  } catch (const std::exception& error) {
    throw std::runtime_error(path + " cannot be loaded: " + error.what());
  }
}

Program::~Program() = default;

const Facts& Program::facts() const { return loaded_->facts; }

at::Tensor Program::Loaded::input(const std::string& name, Part& part) const {
  if (name == "species") return vector(part.species);
  if (name == "senders") return vector(part.senders);
  if (name == "receivers") return vector(part.receivers);
  if (name == "pairs") return vector(part.pairs);
  if (name == "pair_of") return vector(part.pair_of);
  if (name == "vectors")
    return at::from_blob(part.vectors.data(), {int64_t(part.senders.size()), 3}, at::kDouble).to(dtype);
  if (name == "seeds") return at::ones({part.levels[0]}, dtype);
  // What is left are sizes of hop levels, which the length of a vector tells.
  const size_t underscore = name.rfind('_');
  const std::string kind = name.substr(0, underscore);
  const auto& sizes = kind == "level" ? part.levels : kind == "edge_level" ? part.edge_levels : part.pair_levels;
  return at::zeros({sizes.at(size_t(std::stoi(name.substr(underscore + 1))))}, at::kLong);
}

void Program::run(Part& part, std::vector<double>& energies, std::vector<double>& gradients) {
  const c10::InferenceMode no_gradients;
  std::vector<at::Tensor> inputs;
  for (const std::string& name : loaded_->inputs) inputs.push_back(loaded_->input(name, part));
  const std::vector<at::Tensor> outputs = loaded_->package->run(inputs);
  const auto copy = [](const at::Tensor& from, std::vector<double>& to) {
    const at::Tensor values = from.to(at::kDouble).contiguous();
    to.assign(values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
  };
  copy(outputs.at(0), energies);
  copy(outputs.at(1), gradients);
}

}  // namespace halocline
