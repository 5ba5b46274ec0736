# Stand-in for M2Crypto: imported and not used.
