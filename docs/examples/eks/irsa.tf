# The role that the product's service account takes through IRSA, for pods that ask RegisterUsage.

variable "cluster_name" { type = string }
variable "namespace" { type = string }
variable "service_account" { type = string }

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

data "aws_iam_openid_connect_provider" "this" {
  url = data.aws_eks_cluster.this.identity[0].oidc[0].issuer
}

locals {
  issuer = trimprefix(data.aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [data.aws_iam_openid_connect_provider.this.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:${var.service_account}"]
    }
  }
}

resource "aws_iam_role" "metering" {
  name_prefix        = "entitlement-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "metering" {
  name   = "metering"
  role   = aws_iam_role.metering.id
  policy = file("${path.module}/policy-hourly.json")
}

output "role_arn" {
  description = "For the annotation eks.amazonaws.com/role-arn of the service account."
  value       = aws_iam_role.metering.arn
}
