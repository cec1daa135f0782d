"""Documents that a character knows: parsing, chunks, a hybrid index for Chinese, passages with their source spans."""
