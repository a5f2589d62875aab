#error "files of other types are not compiled"
