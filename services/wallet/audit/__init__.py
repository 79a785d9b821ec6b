"""The auditor, in the wallet and as a command. It shares no code with what it audits."""
