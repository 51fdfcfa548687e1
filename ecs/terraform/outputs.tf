output "task_role_arn" {
  description = "The role AWS Marketplace sees; permission boundaries and SCPs must let it call the action."
  value       = aws_iam_role.task.arn
}

output "log_group" {
  description = "Where sidecar and product log."
  value       = aws_cloudwatch_log_group.this.name
}

output "service" {
  description = "The service's name."
  value       = aws_ecs_service.this.name
}
