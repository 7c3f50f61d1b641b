"""PadChest: 16-bit PNG in the folders 0 to 54, one table whose labels are Python lists."""

from __future__ import annotations

from pathlib import Path

from source_trees import Expected
from source_trees.drawing import picture16, table

HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)
COLUMNS = HEADER.split(",")
LABELS = {
    "216840111366964012819207061112010307142602253_04-014-084.png": ["normal"],
    "216840111366964012959786098432011033083840143_00-176-115.png": [
        "pleural effusion",
        " loculated fissural effusion",
    ],
    "216840111366964012989926673512011074122523403_00-163-058.png": ["fibrotic band", "kyphosis", "", "unchanged"],
    "216840111366964012989926673512011083134050913_00-168-009.png": ["central venous catheter", "hydropneumothorax"],
    "216840111366964013076187734852011178154626671_00-145-086.png": ["exclude"],
}


def make(root: Path) -> Expected:
    """Four patients: a healthy one, effusion, two examinations of one, and a film that says nothing."""
    rows = []
    for number, (name, labels) in enumerate(LABELS.items()):
        folder = str(number % 2)
        picture16(root, f"{folder}/{name}", base=1000)
        said = {
            "": number,
            "ImageID": name,
            "ImageDir": folder,
            "StudyID": name[:44],
            "PatientID": "p2" if "0129899" in name else f"p{number}",
            "Projection": ("PA", "L", "AP_horizontal", "PA", "EXCLUDE")[number],
            "Report": f"informe numero {number} .",
            "MethodLabel": "Physician",
            "Labels": str(labels),
            "Localizations": "['loc basal', 'loc right']",
        }
        rows.append({column: said.get(column, "") for column in COLUMNS})
    table(root, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", rows)
    return Expected(
        rows=5,
        modalities={"xray"},
        patients=4,
        diseases={"pleural_effusion", "fibrosis", "kyphosis", "support_device", "pneumothorax"},
        organs={"chest"},
        healthy=1,
        texts=5,
    )
