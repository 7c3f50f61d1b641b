"""The dataset card's prose: `template.md`, installed as `medtrinity25m.dataset_card`."""
