"""A patch set as files for engines that know nothing of patchpm: model folder, GGUF, Ollama, PEFT."""
