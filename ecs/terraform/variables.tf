variable "name" {
  description = "Name of the service, the task family and the roles."
  type        = string
}

variable "cluster" {
  description = "ARN of the ECS cluster."
  type        = string
}

variable "subnets" {
  description = "Where the tasks run; they need outbound HTTPS to AWS Marketplace metering, or to AWS License Manager for contracts."
  type        = list(string)
}

variable "security_groups" {
  description = "Of the tasks. Nothing inbound is needed for the sidecar."
  type        = list(string)
}

variable "product_image" {
  description = "The product's image."
  type        = string
}

variable "sidecar_image" {
  description = "The sidecar's image, with the product manifest sealed in."
  type        = string
}

variable "marketplace_action" {
  description = "RegisterUsage for hourly and monthly prices, MeterUsage for custom dimensions, CheckoutLicense for contracts."
  type        = string
  default     = "RegisterUsage"

  validation {
    condition     = contains(["RegisterUsage", "MeterUsage", "CheckoutLicense"], var.marketplace_action)
    error_message = "marketplace_action is RegisterUsage, MeterUsage or CheckoutLicense."
  }
}

variable "launch_type" {
  description = "FARGATE or EC2."
  type        = string
  default     = "FARGATE"

  validation {
    condition     = contains(["FARGATE", "EC2"], var.launch_type)
    error_message = "launch_type is FARGATE or EC2."
  }
}

variable "assign_public_ip" {
  description = "True in public subnets without NAT. Fargate only."
  type        = bool
  default     = false
}

variable "desired_count" {
  description = "How many tasks."
  type        = number
  default     = 1
}

variable "cpu" {
  description = "CPU units of the whole task."
  type        = number
  default     = 256
}

variable "memory" {
  description = "Memory of the whole task in MiB; the sidecar takes about 64 of it."
  type        = number
  default     = 512
}

variable "gate_patience_seconds" {
  description = "How long the service lets a task wait behind its shut gate before it replaces it, and counts that against the deployment. AWS advises to retry for 1800."
  type        = number
  default     = 3600
}

variable "log_retention_days" {
  description = "The log holds what could not be settled when a task ended; AWS takes no usage older than six hours."
  type        = number
  default     = 90
}
