data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  logging = {
    logDriver = "awslogs"
    options = {
      "awslogs-group"         = aws_cloudwatch_log_group.this.name
      "awslogs-region"        = data.aws_region.current.id
      "awslogs-stream-prefix" = "product"
      "mode"                  = "non-blocking"
      "max-buffer-size"       = "4m"
    }
  }

  # As `entitlement-sidecar ecs render` makes it.
  sidecar = merge(jsondecode(file("${path.module}/sidecar.json")), {
    image            = var.sidecar_image
    logConfiguration = local.logging
  })

  product = {
    name             = "app"
    image            = var.product_image
    essential        = true
    stopTimeout      = 30
    logConfiguration = local.logging
    dependsOn        = [{ containerName = "entitlement-sidecar", condition = "HEALTHY" }]
  }

  actions = var.marketplace_action != "CheckoutLicense" ? ["aws-marketplace:${var.marketplace_action}"] : [
    "license-manager:CheckoutLicense",
    "license-manager:CheckInLicense",
    "license-manager:ExtendLicenseConsumption",
    "license-manager:GetLicense",
  ]
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# Metering knows no resources, and no page names those of a license from AWS Marketplace.
data "aws_iam_policy_document" "metering" {
  statement {
    actions   = local.actions
    resources = ["*"]
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${substr(var.name, 0, 30)}-task-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "metering" {
  name   = "marketplace-metering"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.metering.json
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${substr(var.name, 0, 30)}-exec-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  network_mode             = "awsvpc"
  requires_compatibilities = [var.launch_type]
  cpu                      = var.cpu
  memory                   = var.memory
  container_definitions    = jsonencode([local.sidecar, local.product])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "entitlement-state"
  }
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = var.cluster
  task_definition                    = aws_ecs_task_definition.this.arn
  launch_type                        = var.launch_type
  desired_count                      = var.desired_count
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = var.gate_patience_seconds
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnets
    security_groups  = var.security_groups
    assign_public_ip = var.launch_type == "FARGATE" && var.assign_public_ip
  }

  # A task that starts before its role may call AWS waits behind the gate, and asks again.
  depends_on = [aws_iam_role_policy.metering, aws_iam_role_policy_attachment.execution]
}
