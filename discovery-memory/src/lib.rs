//! A bounded memory store and kubectl's memory discovery cache as a tower layer
