raise ImportError("as where a dependency is missing")
