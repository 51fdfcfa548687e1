"""Name the pages that the rules of a chart come from."""

from __future__ import annotations

from typing import Final

from sidecar.listing.rule import ADD_VERSION, POLICIES

STRUCTURE: Final = f"{POLICIES}#helm-chart-structure-requirements"
"""Seller guide, "Helm chart structure requirements"."""
USAGE: Final = f"{POLICIES}#container-product-usage-instructions"
ADD_ON: Final = f"{POLICIES}#publishing-eks-add-on"
"""The same, "Requirements for Amazon EKS add-on products"."""
CONFIGURATION: Final = f"{POLICIES}#eks-addon-configuration"
SECURITY: Final = f"{POLICIES}#container-security-requirements"
VERSION: Final = ADD_VERSION
CATALOG: Final = "https://docs.aws.amazon.com/marketplace/latest/APIReference/work-with-container-products.html"
"""AWS Marketplace API reference: what a change set answers (`INCOMPATIBLE_HELM_OBJECTS`, …)."""
TRANSFORMER: Final = "https://github.com/aws-samples/addons-transformer-for-amazon-eks"
"""AWS's public checker of add-on charts."""
HELM_CHARTS: Final = "https://helm.sh/docs/topics/charts/"
HELM_FUNCTIONS: Final = "https://helm.sh/docs/chart_template_guide/function_list/"
OBJECT_SIZE: Final = "https://kubernetes.io/docs/concepts/configuration/secret/"
