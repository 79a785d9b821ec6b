"""A spin as tutorials write it: three unary hops, ORM transactions, contrib tracing. The yardstick."""
