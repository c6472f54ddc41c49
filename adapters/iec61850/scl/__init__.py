"""SCL, the configuration language of IEC 61850-6: read into frozen dataclasses, and searched for DER."""
