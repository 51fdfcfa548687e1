"""Bring the state of the SaaS service to the newest schema; `saas.migrating` runs what is here by Alembic."""
