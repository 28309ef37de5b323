"""From one small configuration to KubeRay's custom resources. Needs neither Ray nor a cluster."""
