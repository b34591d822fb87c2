//! A private RFC 9111 HTTP cache as a tower layer, in kubectl's on-disk format
