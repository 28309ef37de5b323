"""The tables: what a clip is, manifests in, results out, keys and run layout, storage, the sample catalogue."""
