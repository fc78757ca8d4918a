@_exported import CAPI
