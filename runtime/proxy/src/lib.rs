//! Services and EndpointSlices, in; tables in the network, out.
