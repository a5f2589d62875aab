"""`round adaptive`: the integers of weights chosen so that each layer writes what it writes in float, not so that each
weight is kept. Sums over the data in `gram`, the choice in `descent`, layers and passes over the data in `learning`."""
