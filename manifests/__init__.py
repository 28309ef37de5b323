"""The tables: what a clip is, manifests in, results out, keys and output layout, storage; sample/ holds data only."""
