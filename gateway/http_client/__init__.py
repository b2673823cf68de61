"""All outgoing HTTP: connections, trust, proxies, address checks, bounded bodies, signed posts."""
