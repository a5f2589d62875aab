recipe float16
quantize float { weights float16; activations float16 }
