"""Who speaks when: windows of speech, an embedding of each, groups of embeddings, labels of words."""
